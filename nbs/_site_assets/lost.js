// 404.html is shown at any address: its links start at the nearest folder above that holds the site's own files.
(() => {
  const parts = location.pathname.split("/");
  if (parts.at(-1).startsWith("404") || !location.protocol.startsWith("http")) return;
  while (parts.length > 1) {
    parts.pop();
    const folder = parts.join("/") + "/", ask = new XMLHttpRequest();
    ask.open("HEAD", `${folder}_site_assets/site.css`, false); // now: the styles that follow are looked for from there
    ask.send();
    if (ask.status === 200) return document.head.append(Object.assign(document.createElement("base"), {href: folder}));
  }
})();
