// The search: over every section of every page. minisearch.js and sections.js are loaded when it is first wanted, from the disk as well.
(() => {
  const top = document.documentElement.dataset.top, SHOWN = 12, OF_ONE_PAGE = 3, AROUND = 160;
  const WEIGHTS = {method: 1, API: 0.8, equation: 0.5, work: 0.4, claim: 0.35};
  const MACHINERY = /^api\/(lab|book|timing|cli)\b/;
  const STOP = new Set("a an and are as at be by can do does for from how i in is it me my of on or that the there this to use was what when where which why with you".split(" "));
  const BEGIN = [["catalogue.html", "The catalogue", "every method"], ["0_foundations/notation.html", "Notation", "what the words and symbols mean"], ["api/index.html", "All modules", "every function"]];

  // two_views is a word, and so are its parts; a plural is its singular
  const words = text => text.match(/[\p{L}\p{N}_]+/gu) ?? [];
  const parts = text => words(text).flatMap(word => word.includes("_") ? [word, ...word.split("_").filter(Boolean)] : word);
  const terms = new Map(); // the same words again and again
  function term(word) {
    if (!terms.has(word)) terms.set(word, stem(word.toLowerCase()));
    return terms.get(word);
  }
  function stem(low) {
    if (STOP.has(low)) return null;
    return low.length < 4 ? low : low.replace(/ies$/, "y").replace(/(ss|x|ch|sh)es$/, "$1").replace(/([^sui])s$/, "$1");
  }

  // --- the index -----------------------------------------------------------------------------------------------------------------

  const script = name => new Promise((done, failed) => {
    const one = document.createElement("script");
    one.src = `${top}_site_assets/${name}`;
    one.onload = done;
    one.onerror = () => failed(new Error(`${name} cannot be read`));
    document.head.append(one);
  });

  async function build() {
    await Promise.all([script("minisearch.js"), script("sections.js")]);
    const index = new MiniSearch({fields: ["heading", "words", "page", "text"], tokenize: parts, processTerm: term});
    const all = window.sections.map(([place, page, heading, kind, words, text], id) => ({id, place, page, heading, kind, words, text}));
    await index.addAllAsync(all, {chunkSize: 150});
    return {index, all};
  }
  let building, built = false;
  const ready = () => building ??= build().finally(() => { built = true; });

  const weight = one => (WEIGHTS[one.kind] ?? 1) * (one.place.includes("#") ? 1 : 1.5) * (MACHINERY.test(one.place) ? 0.4 : 1);

  const named = (one, query) => [one.heading, ...one.words.split(", ")].some(name => name.toLowerCase() === query.toLowerCase());

  // The best places, no more than a few of one page: {near, total, hits}; near: no section has all the words, these have the most like them
  async function look(query) {
    const {index, all} = await ready();
    const ask = {
      tokenize: words, boost: {heading: 4, words: 4, page: 2}, prefix: word => word.length > 2, combineWith: "AND",
      weights: {prefix: 0.3, fuzzy: 0.2}, boostDocument: id => weight(all[id]),
    };
    let found = index.search(query, ask);
    const near = !found.length;
    if (near) found = index.search(query, {...ask, fuzzy: 0.3});
    if (!found.length) found = index.search(query, {...ask, fuzzy: 0.2, combineWith: "OR"});
    found = found.map(hit => [hit.score * (named(all[hit.id], query) ? 3 : 1), hit]).sort(([a], [b]) => b - a).map(([, hit]) => hit);
    const of = new Map(), hits = [];
    for (const hit of found) {
      const one = all[hit.id], count = of.get(one.page) ?? 0;
      of.set(one.page, count + 1);
      if (count < OF_ONE_PAGE && hits.length < SHOWN) hits.push({...one, terms: new Set(hit.terms)});
    }
    return {near, total: found.length, hits};
  }

  // --- what is shown -------------------------------------------------------------------------------------------------------------

  function element(kind, properties, ...inside) {
    const made = Object.assign(document.createElement(kind), properties);
    made.append(...inside);
    return made;
  }

  const hit = (word, terms) => [word, ...word.split("_")].some(part => terms.has(term(part)));

  function marked(text, terms) {
    return text.split(/([\p{L}\p{N}_]+)/u).map((piece, i) => i % 2 && hit(piece, terms) ? element("mark", {}, piece) : piece);
  }

  function excerpt({text, words: names, terms}) {
    const at = [...text.matchAll(/[\p{L}\p{N}_]+/gu)].filter(([word]) => hit(word, terms)).map(found => [found.index, term(found[0])]);
    const near = ([from]) => new Set(at.filter(([place]) => place >= from && place < from + AROUND / 2).map(([, word]) => word)).size;
    const first = at.reduce((best, one) => best && near(best) >= near(one) ? best : one, undefined)?.[0]; // where most of the words meet
    if (first === undefined && words(names).some(word => hit(word, terms))) return `Also: ${names}. ${text.slice(0, AROUND - names.length)}`;
    const from = first > AROUND / 2 ? text.indexOf(" ", first - AROUND / 2) + 1 : 0;
    const cut = text.slice(from, from + AROUND), whole = from + AROUND >= text.length;
    return (from ? "… " : "") + (whole ? cut : cut.replace(/\s+\S*$/, " …"));
  }

  function option(one, i) {
    const of = [one.heading === one.page ? "" : one.page, one.kind].filter(Boolean).join(" · ");
    const made = element("a", {href: top + one.place, id: `found-${i}`, tabIndex: -1, role: "option", ariaSelected: "false"},
      element("b", {}, ...marked(one.heading, one.terms)), " ", element("small", {}, of), element("span", {}, ...marked(excerpt(one), one.terms)));
    return made;
  }

  const dialog = element("dialog", {id: "finder", ariaLabel: "Search"});
  dialog.innerHTML = `<div class="ask"><input type="search" role="combobox" aria-label="Search pages, functions, methods and equations" aria-controls="found"
    aria-autocomplete="list" aria-expanded="false" placeholder="Search" autocomplete="off" spellcheck="false"><button type="button">Close</button></div>
    <p role="status"></p><div role="listbox" id="found" aria-label="What was found" hidden></div>`;
  document.body.append(dialog);
  const [input, close, status, list] = ["input", "button", "p", "[role=listbox]"].map(name => dialog.querySelector(name));
  let chosen = -1, asked = 0;

  function choose(i) {
    const options = [...list.children];
    options[chosen]?.setAttribute("aria-selected", "false");
    chosen = options.length ? (i + options.length) % options.length : -1;
    options[chosen]?.setAttribute("aria-selected", "true");
    options[chosen]?.scrollIntoView({block: "nearest", behavior: "instant"});
    if (chosen < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", options[chosen].id);
  }

  function show(says, hits) {
    status.textContent = says;
    list.replaceChildren(...hits.map(option));
    list.hidden = !hits.length;
    input.setAttribute("aria-expanded", String(hits.length > 0));
    choose(hits.length ? 0 : -1);
    list.scrollTop = 0;
  }

  const begin = () => BEGIN.map(([place, heading, text]) => ({place, page: heading, heading, kind: "", words: "", text, terms: new Set()}));

  async function answer() {
    const query = input.value.trim(), mine = ++asked;
    if (!words(query).some(term)) return show(query ? "Type a word that says more." : "Type what you look for: a method, a function, a word.", []);
    if (!built) status.textContent = "Reading the book …";
    try {
      const {near, total, hits} = await look(query);
      if (mine !== asked) return; // another letter was typed meanwhile
      if (!hits.length) show(`Nothing is like “${query}”. Places to begin:`, begin());
      else if (near) show(`Nothing has “${query}”. The nearest:`, hits);
      else show(total > hits.length ? `${total} places have it, the first ${hits.length}:` : total === 1 ? "One place has it:" : `${total} places have it:`, hits);
    } catch (fault) {
      show(`The search does not work: ${fault.message}.`, []);
    }
  }

  function open(query) {
    if (query !== undefined) input.value = query;
    if (!dialog.open) dialog.showModal();
    input.focus();
    input.select();
    ready().catch(() => {}); // while the words are typed; what went wrong is said in answer
    answer();
  }

  input.addEventListener("input", answer);
  input.addEventListener("keydown", event => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step) choose(chosen + step);
    else if (event.key === "Enter") list.children[chosen]?.click();
    else if (event.key === "Escape") dialog.close(); // once is enough: some browsers empty the field first
    else return;
    event.preventDefault();
  });
  list.addEventListener("click", event => { if (event.target.closest("a") && !event.ctrlKey && !event.metaKey) dialog.close(); });
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  document.querySelectorAll(".search-button").forEach(button => button.addEventListener("click", () => open(button.dataset.query)));
  document.addEventListener("keydown", event => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    event.preventDefault();
    open();
  });

  // --- a page that is not there: what its name is like ----------------------------------------------------------------------------

  const nearest = document.getElementById("nearest");
  if (nearest) {
    const name = decodeURIComponent(location.pathname.split("/").pop()).replace(/\.(html|ipynb)$/, "").replace(/^\d+[a-z]?_/, "");
    const query = words(name).flatMap(word => word.split("_")).filter(Boolean).join(" ");
    if (query && query !== "404") look(query).then(({hits}) => {
      nearest.replaceChildren(...hits.slice(0, 5).map(one => element("li", {}, element("a", {href: top + one.place}, one.heading), " ", element("small", {}, one.page))));
      nearest.parentElement.hidden = !hits.length;
      document.querySelector(".search-button").dataset.query = query;
    });
  }
})();
