// Sorts the board in place. Without this script the column headers lead to sorted pages.
"use strict";
document.querySelectorAll("table.board").forEach(table => {
  const heads = Array.from(table.tHead.rows[0].cells);
  const status = document.getElementById("sorted");

  // In rows without numbers a cell spans several columns, so cells are found by column, not by index.
  const valueOf = (row, column) => {
    let place = 0;
    for (const cell of row.cells) {
      if (place === column && cell.colSpan === 1) return cell.dataset.value || "";
      place += cell.colSpan;
      if (place > column) return "";
    }
    return "";
  };

  const compare = (a, b) => {
    const bothNumbers = !isNaN(a) && !isNaN(b);
    return bothNumbers ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0;
  };

  const sort = head => {
    const column = heads.indexOf(head);
    const first = head.dataset.first;
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach(one => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const rows = Array.from(body.rows).filter(row => !row.classList.contains("divider"));
      const keyed = rows.map(row => ({row, value: valueOf(row, column)}));
      keyed.sort((a, b) => {
        if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "");
        return sign * compare(a.value, b.value);
      });
      keyed.forEach(({row}) => body.append(row));
    }
    status.textContent = `Sorted by ${head.querySelector("a").textContent.trim()}, ${direction}.`;
  };

  heads.forEach(head => {
    const link = head.querySelector("a");
    if (!link) return;
    link.addEventListener("click", event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      sort(head);
    });
    link.addEventListener("keydown", event => {
      if (event.key !== " ") return;
      event.preventDefault();
      sort(head);
    });
  });
});
