// What may be wrong with a page in a browser, for test_pages_in_browser.py: a function of nothing
// that returns a list of texts.
() => {
  const width = document.documentElement.clientWidth;
  const said = (what, node) => `${what}: ${(node.outerHTML || node.textContent).slice(0, 140)}`;
  const found = [];

  // Nothing is wider than the window, except inside of a box that scrolls.
  if (document.documentElement.scrollWidth > width) found.push("the page scrolls sideways");
  const scrolls = node => node && (["auto", "scroll"].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
  const hides = node => node && (getComputedStyle(node).clipPath !== "none" || hides(node.parentElement));
  for (const node of document.querySelectorAll("main *, header *, footer *")) {
    if (node.closest("svg") || !node.checkVisibility()) continue;
    const box = node.getBoundingClientRect();
    if (box.width && (box.right > width + 1 || box.left < -1) && !scrolls(node.parentElement) && !hides(node)) found.push(said("cut off", node));
  }
  for (const table of document.querySelectorAll("table.board, table.aggregate")) {
    const [inner, outer] = [table.getBoundingClientRect(), table.parentElement.getBoundingClientRect()];
    if (inner.right > outer.right + 1) found.push(said("columns are cut", table));
    for (const cell of table.querySelectorAll("tbody th, tbody td")) {
      if (cell.scrollWidth > cell.clientWidth + 1) found.push(said("a cell is cut", cell));
    }
  }

  // Texts of a chart are inside of it, large enough, and do not overlap.
  for (const drawing of document.querySelectorAll(".plot svg")) {
    const frame = drawing.getBoundingClientRect();
    const texts = Array.from(drawing.querySelectorAll("text"))
      .filter(text => text.textContent.trim() && !text.closest("[aria-label=tip]"))
      .map(text => ({text, box: text.getBoundingClientRect()})).filter(({box}) => box.width);
    texts.forEach(({text, box}, index) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) found.push(said("outside of its chart", text));
      if (parseFloat(getComputedStyle(text).fontSize) < 11) found.push(said("too small", text));
      for (const {text: other, box: next} of texts.slice(index + 1)) {
        const apart = box.right <= next.left + 1 || next.right <= box.left + 1 || box.bottom <= next.top + 2 || next.bottom <= box.top + 2;
        if (!apart) found.push(`overlap: "${text.textContent}" and "${other.textContent}"`);
      }
    });
  }

  // Every text has a contrast of 4.5 to what is behind it (WCAG 2.2, 1.4.3).
  const parse = text => text.match(/[\d.]+/g).map(Number);
  const linear = part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const canvas = getComputedStyle(document.body).backgroundColor;
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = parse(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return parse(canvas);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script, .skip") || !element.checkVisibility()) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const color = parse(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [luminance(color), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(said(`contrast ${ratio.toFixed(2)}`, element));
  }
  if (texts < 15) found.push(`only ${texts} texts`);

  // Landmarks, headings, names.
  for (const name of ["header", "nav", "main", "footer", "h1"]) {
    if (!document.querySelector(name)) found.push(`no ${name}`);
  }
  for (const table of document.querySelectorAll("table")) if (!table.caption) found.push(said("no caption", table));
  for (const image of document.querySelectorAll("img")) {
    if (!image.hasAttribute("alt") || !image.complete || !image.naturalWidth) found.push(said("picture", image));
  }
  for (const drawing of document.querySelectorAll("[data-chart] svg")) if (!drawing.getAttribute("aria-label")) found.push("a chart without a name");
  return found;
}
