// Tables that can be searched, filtered and sorted; without the script every row still stands there. Also: copy a citation.
(() => {
  const number = text => { const found = text.replace(/−/g, "-").match(/-?\d+(\.\d+)?(e-?\d+)?/); return found ? Number(found[0]) : -Infinity; };
  const first = cell => (cell.querySelector(".verdict") || cell).textContent.trim();

  function equip(table) {
    const heads = [...table.tHead.rows[0].cells], rows = [...table.tBodies[0].rows];
    const bar = document.createElement("div"), shown = document.createElement("output"), chosen = new Map();
    bar.className = "filters";
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = "Search all columns";
    search.setAttribute("aria-label", `Search: ${table.getAttribute("aria-label")}`);
    bar.append(search);
    heads.forEach((head, i) => {
      if (!head.classList.contains("choice")) return;
      const select = document.createElement("select");
      select.setAttribute("aria-label", `Filter by ${head.textContent}`);
      select.append(new Option(`${head.textContent}: all`, ""));
      [...new Set(rows.map(row => first(row.cells[i])))].sort().forEach(value => select.append(new Option(value, value)));
      select.addEventListener("change", () => { chosen.set(i, select.value); apply(); });
      bar.append(select);
    });
    bar.append(shown);
    (table.closest(".scroll") || table).before(bar);

    function apply() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach(row => {
        const text = row.textContent.toLowerCase();
        const fits = words.every(word => text.includes(word)) && [...chosen].every(([i, value]) => !value || first(row.cells[i]) === value);
        row.hidden = !fits;
        count += fits;
      });
      shown.textContent = `${count} of ${rows.length}`;
    }
    search.addEventListener("input", apply);
    apply();

    heads.forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = head.classList.contains("number") ? row => number(row.cells[i].textContent) : row => first(row.cells[i]).toLowerCase();
        const sorted = rows.map(row => [key(row), row]).sort(([a], [b]) => (a === "") - (b === "") || (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1));
        table.tBodies[0].append(...sorted.map(([, row]) => row));
      });
    });
  }

  document.querySelectorAll("table.filterable").forEach(equip);

  document.querySelectorAll("details.cite pre").forEach(entry => {
    if (!navigator.clipboard) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", () => navigator.clipboard.writeText(entry.textContent).then(() => { button.textContent = "Copied"; }));
    entry.before(button);
  });
})();
