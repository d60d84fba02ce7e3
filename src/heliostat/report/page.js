"use strict";
/* Adds to a page that is whole without it: theme, sorting, tips, the place in the navigation. */
(() => {
  const root = document.documentElement;
  const kept = (() => { try { return localStorage.getItem("heliostat-theme"); } catch { return null; } })();
  const asked = new URLSearchParams(location.search).get("theme") || kept;
  if (asked === "dark" || asked === "light") root.dataset.theme = asked;

  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("heliostat-theme", root.dataset.theme); } catch { /* private windows keep nothing */ }
  });

  const key = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;
  const order = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const th of table.querySelectorAll("thead tr:last-child th")) {
      th.querySelector("button").addEventListener("click", () => {
        const up = th.getAttribute("aria-sort") !== "ascending", i = th.cellIndex;
        for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        const absent = (row) => key(row, i) === "";
        rows.sort((a, b) => (absent(a) || absent(b) || up ? 1 : -1) * order(key(a, i), key(b, i)));
        table.tBodies[0].append(...rows);
      });
    }
  }

  const tip = document.getElementById("tip");
  for (const mark of document.querySelectorAll("svg [data-tip]")) mark.querySelector("title")?.remove();
  for (const whole of document.querySelectorAll("svg.chart > title")) whole.remove();
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(8, event.clientY - box.height - 12) + "px";
  });

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const a of links.values()) a.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main section")) seen.observe(section);

  addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
})();
