"use strict";
const numberOf = text => {
  const plain = text.replace(/[,\u00a0\s]/g, "").replace("\u2212", "-").match(/^[+-]?\d+(\.\d+)?/);
  return plain ? Number(plain[0]) : null;
};
const compare = (a, b) => {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== null && y !== null) return x - y;
  return (x === null) - (y === null) || a.localeCompare(b);
};
const button = (name, title, act) => {
  const made = document.createElement("button");
  Object.assign(made, {type: "button", textContent: name, title, onclick: () => act(made)});
  return made;
};
for (const block of document.querySelectorAll("pre")) {
  const box = document.createElement("div");
  box.className = "copyable";
  block.replaceWith(box);
  box.append(block, button("Copy", "Copy these lines", async made => {
    try {
      await navigator.clipboard.writeText(block.textContent);
    } catch {
      getSelection().selectAllChildren(block);
      document.execCommand("copy");
    }
    made.textContent = "Copied";
  }));
}
for (const table of document.querySelectorAll("table:not(.confusion)")) {
  const heads = [...table.tHead.rows[0].cells];
  if (table.tBodies[0].rows.length < 3) continue;
  heads.forEach((head, place) => {
    const name = head.textContent;
    head.replaceChildren(button(name, "Sort by " + name, () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      const alike = [...table.closest("section").querySelectorAll("table")].filter(one => one.className === table.className);
      const rows = alike.flatMap(one => [...one.tBodies[0].rows]);
      const sizes = alike.map(one => one.tBodies[0].rows.length);
      rows.sort((a, b) => compare(a.cells[place].textContent, b.cells[place].textContent) * (falling ? -1 : 1));
      alike.forEach((one, number) => one.tBodies[0].append(...rows.splice(0, sizes[number])));
      for (const one of alike) for (const cell of one.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
      for (const one of alike) one.tHead.rows[0].cells[place].setAttribute("aria-sort", falling ? "descending" : "ascending");
    }));
  });
}
const hint = () => {
  for (const box of document.querySelectorAll(".wide")) box.classList.toggle("more", box.scrollWidth > box.clientWidth + 1);
};
addEventListener("resize", hint);
hint();
