// Tables that can be searched, filtered and sorted; without the script every row still stands there. What is chosen stands in the
// address, as in #?paper=S03&verdict=confirmed, so that a selection can be linked and gone back to. Also: copy a citation.
(() => {
  const number = text => { const found = text.replace(/−/g, "-").match(/-?\d+(\.\d+)?(e-?\d+)?/); return found ? Number(found[0]) : -Infinity; };
  const first = cell => (cell.querySelector(".verdict") || cell).textContent.trim();
  const value = cell => cell.dataset.value ?? first(cell);
  const state = () => new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
  let typing = false; // letters of one word are one step back, not many

  function put(key, text) {
    const wanted = state(), typed = key === "search";
    wanted.delete(key);
    if (text) wanted.set(key, text);
    const address = location.pathname + location.search + ([...wanted].length ? `#?${wanted}` : "");
    history[typed && typing ? "replaceState" : "pushState"](null, "", address);
    typing = typed;
  }

  function equip(table) {
    const heads = [...table.tHead.rows[0].cells], rows = [...table.tBodies[0].rows];
    const bar = document.createElement("div"), shown = document.createElement("output"), choices = [];
    bar.className = "filters";
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = "Search all columns";
    search.setAttribute("aria-label", `Search: ${table.getAttribute("aria-label")}`);
    bar.append(search);
    heads.forEach((head, i) => {
      if (!head.classList.contains("choice")) return;
      const select = document.createElement("select"), key = head.textContent;
      select.setAttribute("aria-label", `Filter by ${key}`);
      select.append(new Option(`${key}: all`, ""));
      const labels = new Map(rows.map(row => [value(row.cells[i]), first(row.cells[i])]));
      [...labels].sort().forEach(([chosen, label]) => select.append(new Option(label, chosen)));
      select.addEventListener("change", () => { put(key, select.value); apply(); });
      choices.push([i, key, select]);
      bar.append(select);
    });
    // what is only planned is folded until it is asked for: by its box, by a search, by a filter, by a link to a row
    const planned = rows.filter(row => row.classList.contains("planned")), box = document.createElement("input");
    if (planned.length) {
      const label = document.createElement("label");
      box.type = "checkbox";
      box.addEventListener("change", () => apply());
      label.append(box, ` ${planned.length} planned`);
      bar.append(label);
    }
    bar.append(shown);
    (table.closest(".scroll") || table).before(bar);

    function apply() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const folded = !box.checked && !words.length && choices.every(([, , select]) => !select.value);
      let count = 0;
      rows.forEach(row => {
        const text = row.textContent.toLowerCase();
        const fits = words.every(word => text.includes(word)) && choices.every(([i, , select]) => !select.value || value(row.cells[i]) === select.value);
        row.hidden = !fits || (folded && row.classList.contains("planned"));
        count += !row.hidden;
      });
      shown.textContent = `${count} of ${rows.length}`;
    }
    function restore() {
      const wanted = state();
      search.value = wanted.get("search") ?? "";
      choices.forEach(([, key, select]) => {
        select.value = wanted.get(key) ?? "";
        if (select.selectedIndex < 0) select.value = ""; // an address that asks for what the table does not have
      });
      apply();
    }
    search.addEventListener("input", () => { put("search", search.value.trim()); apply(); });
    function follow() {
      const aim = rows.find(row => row.id && location.hash === `#${row.id}`), lost = aim?.hidden;
      typing = false;
      box.checked ||= planned.includes(aim);
      restore();
      if (lost) aim.scrollIntoView(); // a link to a row that was filtered out or folded
    }
    addEventListener("popstate", follow);
    restore();
    follow();

    heads.forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      rows.forEach(row => { row.cells[i].dataset.label = head.textContent; }); // on a phone a row is a card, far from its heads
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
