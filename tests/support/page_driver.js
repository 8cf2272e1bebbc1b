// Uses the page of a server as a person does, and leaves what it saw in the title; the photos come with the page.
const bytes = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));
const file = (name, data, type = "image/jpeg") => new File([bytes(data)], name, {type});
const until = async (what, seconds = 20) => { for (const end = Date.now() + 1000 * seconds; Date.now() < end; await pause(.02)) if (what()) return; throw new Error("never: " + what); };
const transfer = files => { const all = new DataTransfer(); files.forEach(one => all.items.add(one)); return all; };
const drop = files => dispatchEvent(new DragEvent("drop", {dataTransfer: transfer(files), cancelable: true}));
const shown = () => [...at("bars").querySelectorAll("li")].map(line => line.innerText.replace(/\s+/g, " ").trim());
(async () => {
  const seen = {};
  try {
    await until(() => models.length);
    drop([file("a.jpg", PHOTOS[0])]);
    await until(() => !at("one").hidden);
    seen.dropped = [at("label").textContent, shown()];
    show("one", false);
    dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer([file("b.jpg", PHOTOS[1])]), cancelable: true}));
    await until(() => !at("one").hidden);
    seen.pasted = at("label").textContent;
    drop([file("broken.jpg", PHOTOS[0].slice(0, 80))]);
    await until(() => at("status").className === "error");
    seen.broken = at("status").textContent;
    drop([...PHOTOS.map((data, place) => file(`=${place}.jpg`, data)), file("none.jpg", "")]);
    await until(() => at("csv").href && !at("csv").hidden);
    seen.rows = [...at("rows").rows].map(row => [...row.cells].map(one => one.textContent)).sort();
    seen.csv = await (await fetch(at("csv").href)).text();
    seen.focusable = [...document.querySelectorAll("a[href], button, input, select, textarea")].filter(one => one.getClientRects().length && one.tabIndex >= 0).map(one => one.id || one.textContent);
    seen.wave = (await asWave(new Float32Array([0, 1, -1])).arrayBuffer()).byteLength;
    seen.outside = performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith(location.origin) && !name.startsWith("blob:"));
  } catch (error) { seen.error = String(error); }
  document.body.dataset.seen = JSON.stringify(seen);
})();
