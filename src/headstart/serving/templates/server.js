"use strict";
// What answers the page: the server that it comes from.
async function ask(path, options = {}) {
  const token = at("token").value.trim(), headers = token ? {authorization: "Bearer " + token} : {};
  for (;;) {
    const answer = await fetch(path, {...options, headers});
    if (answer.status !== 503) return answer;
    await pause(Number(answer.headers.get("retry-after") || 1));
  }
}

async function findModels() {
  const answer = await ask("/v1/models"), content = await answer.json();
  show("locked", answer.status === 401);
  if (!answer.ok) throw new Error(content.error);
  return content.models;
}

async function predict(items) {
  const form = new FormData();
  form.append("model", chosen().name);
  form.append("every_class", items.length === 1);
  for (const item of items) typeof item === "string" ? form.append("text", item) : form.append("file", item, item.path || item.name || "pasted");
  let answer;
  try { answer = await ask("/v1/predict", {method: "POST", body: form}); }
  catch { return items.map(() => ({error: "the server cannot be reached"})); }
  const content = await answer.json().catch(() => ({error: `status ${answer.status}`}));
  if (answer.ok) return content.predictions;
  if (items.length === 1) return [{error: content.error}];
  return (await Promise.all(items.map(item => predict([item])))).flat();
}
