// The page around the text: light and dark, the menu on small screens, finding a page by its name, where one is on the page.
(() => {
  const root = document.documentElement, menu = document.getElementById("menu"), find = document.getElementById("find");

  document.getElementById("scheme").addEventListener("click", () => {
    const dark = root.dataset.scheme ? root.dataset.scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.scheme = dark ? "light" : "dark";
    try { localStorage.setItem("scheme", root.dataset.scheme); } catch (e) { /* private window */ }
  });

  menu.addEventListener("click", () => {
    const open = document.body.classList.toggle("menu");
    menu.setAttribute("aria-expanded", open);
  });

  const items = [...document.querySelectorAll("#sidebar li")], folds = [...document.querySelectorAll("#sidebar details")], open = folds.map(fold => fold.open);
  find.addEventListener("input", () => {
    const word = find.value.trim().toLowerCase();
    items.forEach(item => { item.hidden = !item.textContent.toLowerCase().includes(word); });
    folds.forEach((fold, i) => { fold.open = word ? true : open[i]; });
  });
  document.querySelector("#sidebar [aria-current]")?.scrollIntoView({block: "nearest"});

  document.querySelectorAll("pre > code.sourceCode").forEach(code => {
    if (!navigator.clipboard) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => navigator.clipboard.writeText(code.textContent).then(() => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    }));
    code.closest("div.sourceCode").append(button);
  });

  const links = new Map([...document.querySelectorAll("#toc a")].map(link => [decodeURIComponent(link.hash.slice(1)), link]));
  const watch = new IntersectionObserver(seen => seen.forEach(entry => {
    if (!entry.isIntersecting) return;
    links.forEach(link => link.classList.remove("here"));
    links.get(entry.target.id)?.classList.add("here");
  }), {rootMargin: "-10% 0px -75% 0px"});
  links.forEach((_, id) => { const head = document.getElementById(id); if (head) watch.observe(head); });
})();
