// Makes the long tables of a page sortable by a click on a column's name, and filters their rows by a text.
// Without JavaScript they are plain tables.
(() => {
  const LONG = 15; // rows

  // The number at the start of a cell ("93.50 ± 0.15", "1,463,594", "12.1 M"), or else its text.
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replaceAll(",", ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };

  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // empty cells last, whatever the order
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };

  const sort = (table, heading, column) => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((first, second) => {
      const [a, b] = [value(first, column), value(second, column)];
      return a === "" || b === "" ? compare(a, b) : (descending ? -1 : 1) * compare(a, b);
    });
    body.append(...rows);
  };

  const prepare = (table) => {
    if ("sortable" in table.dataset || !table.tHead || table.tBodies[0].rows.length < LONG) return;
    table.dataset.sortable = ""; // not a class: the theme styles tables without one
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, heading, column));
    });
    const filter = document.createElement("input");
    filter.type = "search";
    filter.className = "table-filter";
    filter.placeholder = "Filter rows";
    filter.setAttribute("aria-label", "Show only the rows of the table that contain this text");
    filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase();
      for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    (table.closest(".md-typeset__scrollwrap") || table).before(filter);
  };

  document.querySelectorAll(".md-content table").forEach(prepare);
})();
