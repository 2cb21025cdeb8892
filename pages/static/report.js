// Sorts tables by a column, and unfolds what is folded before the page is printed. Without it all can be read.
"use strict";

const number = (text) => Number.parseFloat(text.replace(/[,%+]/g, "").replace("−", "-"));

const sortBy = (table, column, header) => {
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].filter((row) => !row.classList.contains("total"));
  const numeric = header.classList.contains("number");
  const compare = (a, b) => {
    const [first, second] = [a.cells[column].textContent, b.cells[column].textContent];
    return numeric ? number(first) - number(second) : first.localeCompare(second, undefined, { numeric: true });
  };
  rows.sort(compare);
  if (down) rows.reverse();
  const total = body.querySelector("tr.total");
  for (const row of rows) body.insertBefore(row, total);
};

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (header.tagName !== "TH") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, column, header));
    header.append(button);
  });
}

const unfolded = [];
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    unfolded.push(details);
  }
});
window.addEventListener("afterprint", () => {
  for (const details of unfolded.splice(0)) details.open = false;
});
