// The page around the text: light and dark, the contents on small screens, figures made large, where one is on the page.
(() => {
  const root = document.documentElement, [menu, sidebar, toc, main] = ["menu", "sidebar", "toc", "content"].map(id => document.getElementById(id));
  const narrow = matchMedia("(max-width: 75rem)"), phone = matchMedia("(max-width: 52rem)");

  document.getElementById("scheme").addEventListener("click", () => {
    const dark = root.dataset.scheme ? root.dataset.scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.scheme = dark ? "light" : "dark";
    try { localStorage.setItem("scheme", root.dataset.scheme); } catch (e) { /* private window */ }
  });

  // On a phone the contents lie over the page, wherever one is on it: first those of the page, then those of the book.
  const show = open => {
    document.body.classList.toggle("menu", open);
    menu.setAttribute("aria-expanded", String(open));
    main.inert = open;
    if (open) sidebar.scrollTop = 0;
  };
  menu.addEventListener("click", () => show(!document.body.classList.contains("menu")));
  sidebar.addEventListener("click", event => { if (event.target.closest("a")) show(false); });
  document.addEventListener("keydown", event => {
    if (event.key !== "Escape" || !document.body.classList.contains("menu")) return;
    show(false);
    menu.focus({preventScroll: true});
  });
  const settle = () => { show(false); narrow.matches ? sidebar.prepend(toc) : sidebar.parentElement.append(toc); };
  narrow.addEventListener("change", settle);
  phone.addEventListener("change", settle);
  settle();
  if (!narrow.matches) document.querySelector("#sidebar [aria-current]")?.scrollIntoView({block: "nearest"});

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

  // A figure opens over the page, as large as there is room for, or twice its size to be moved about in; a tap or Escape closes it.
  const viewer = document.createElement("dialog");
  viewer.id = "viewer";
  viewer.setAttribute("aria-label", "Figure, enlarged");
  viewer.innerHTML = '<button type="button">Close</button><div class="output"></div>';
  viewer.addEventListener("click", () => viewer.close());
  document.body.append(viewer);
  function enlarge(image) {
    const large = image.cloneNode(), ratio = image.naturalWidth / image.naturalHeight;
    ["role", "tabindex", "aria-haspopup", "id", "width", "height"].forEach(name => large.removeAttribute(name));
    const room = Math.min(innerWidth - 16, (innerHeight - 64) * ratio);
    large.style.width = `${Math.max(room, Math.min(2 * image.clientWidth, 900))}px`;
    viewer.lastElementChild.replaceChildren(large);
    viewer.showModal();
  }
  document.querySelectorAll("main :is(figure, .output, .hero) img").forEach(image => {
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    image.setAttribute("aria-haspopup", "dialog");
    image.addEventListener("click", () => enlarge(image));
    image.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      enlarge(image);
    });
  });

  const links = new Map([...document.querySelectorAll("#toc a")].map(link => [decodeURIComponent(link.hash.slice(1)), link]));
  const watch = new IntersectionObserver(seen => seen.forEach(entry => {
    if (!entry.isIntersecting) return;
    links.forEach(link => link.classList.remove("here"));
    links.get(entry.target.id)?.classList.add("here");
  }), {rootMargin: "-10% 0px -75% 0px"});
  links.forEach((_, id) => { const head = document.getElementById(id); if (head) watch.observe(head); });
})();
