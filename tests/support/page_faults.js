// What is wrong with each page in a frame of this one, and what its buttons do; written as JSON into the body.
const luminance = colour => {
  const parts = colour.map(part => part / 255).map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
  return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
};
const faults = frame => {
  const page = frame.contentDocument, style = one => frame.contentWindow.getComputedStyle(one);
  const width = page.documentElement.clientWidth, found = [];
  const scrolled = one => { for (let up = one.parentElement; up; up = up.parentElement)
    if (/auto|scroll|hidden/.test(style(up).overflowX)) return true; return false; };
  const behind = one => {
    const [red, green, blue, share = 1] = style(one).backgroundColor.match(/[\d.]+/g).map(Number);
    if (share === 1) return [red, green, blue];
    const below = one.parentElement ? behind(one.parentElement) : [255, 255, 255];
    return [red, green, blue].map((part, place) => share * part + (1 - share) * below[place]);
  };
  const shown = [...page.body.querySelectorAll("*")].filter(one => one.getClientRects().length && !/SCRIPT|STYLE|TITLE|DESC/i.test(one.tagName));
  const named = one => one.tagName + "." + (one.className.baseVal ?? one.className) + " " + one.textContent.trim().slice(0, 40);
  if (page.documentElement.scrollWidth > width) found.push("the page is wider than its window: " + page.documentElement.scrollWidth);
  for (const one of shown) if (one.getBoundingClientRect().right > width + 1 && !scrolled(one)) found.push("too wide: " + named(one));
  for (const one of shown) if (/hidden|clip/.test(style(one).overflowX) && !one.closest("svg, input") && one.scrollWidth > one.clientWidth + 1) found.push("cut: " + named(one));
  for (const one of page.querySelectorAll("caption, figcaption")) if (one.getBoundingClientRect().right > width + 1) found.push("a caption goes beyond the window: " + named(one));
  const links = [...page.querySelectorAll("nav a")];
  if (page.querySelectorAll("h2").length > 2 && !links.length) found.push("no contents");
  for (const one of links) if (!page.querySelector(one.getAttribute("href"))) found.push("leads nowhere: " + named(one));
  const texts = shown.filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  for (const one of texts) {
    const colour = style(one).color, drawn = one.closest("svg") ? style(one).fill : colour;
    const [a, b] = [luminance(drawn.match(/[\d.]+/g).slice(0, 3).map(Number)), luminance(behind(one))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) found.push("too pale, " + contrast.toFixed(2) + ": " + named(one));
  }
  const boxes = texts.flatMap(one => [...one.childNodes].filter(node => node.nodeType === 3 && node.textContent.trim()).flatMap(node => {
    const range = page.createRange(); range.selectNodeContents(node);
    return [...range.getClientRects()].map(box => ({one, box}));
  })).filter(each => !each.one.closest("text[transform]") && !scrolled(each.one)).sort((a, b) => a.box.top - b.box.top);
  boxes.forEach((a, place) => { for (const b of boxes.slice(place + 1)) {
    if (b.box.top > a.box.bottom) break;
    const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
    const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
    if (a.one !== b.one && !a.one.contains(b.one) && !b.one.contains(a.one) && across > 2 && down > 4) found.push("overlap: " + named(a.one) + " | " + named(b.one));
  } });
  return [...new Set(found)].slice(0, 8);
};
const used = frame => {
  const page = frame.contentDocument, table = page.querySelector("table.candidates, table.classes");
  const column = () => [...table.tBodies[0].rows].map(row => row.cells[1].textContent);
  const before = column();
  table.tHead.rows[0].cells[1].querySelector("button")?.click();
  return {copy: page.querySelectorAll(".copyable > pre + button").length, before, after: column(),
          hinted: page.querySelectorAll(".wide.more").length};
};
onload = () => { document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(
  frame => ({name: frame.title, faults: faults(frame), used: used(frame)}))); };
