"use strict";
// Everything shown is set as text, never as HTML; colours are set through the style object, which the policy allows.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function showFullSize() {
  const dialog = element("dialog");
  document.body.append(dialog);
  dialog.addEventListener("click", () => dialog.close());
  for (const link of document.querySelectorAll("figure a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const image = link.querySelector("img").cloneNode();
      dialog.replaceChildren(image);
      dialog.showModal();
    });
  }
}

function signed(weight) {
  if (weight === 0) return "0";
  return (weight > 0 ? "+" : "−") + Number(Math.abs(weight).toPrecision(2));
}

function browse(root, data) {
  const field = (name) => root.querySelector(`[name=${name}]`);
  const sides = [field("left"), field("right")];
  for (const [place, select] of sides.entries()) {
    data.arms.forEach((label, index) => select.append(new Option(label, index)));
    select.selectedIndex = Math.min(place, data.arms.length - 1);
  }
  const weights = (row) => (Array.isArray(row.w) ? row.w : row.k.map(() => row.w));
  const shown = (row) => {
    const outcome = field("outcome").value;
    const low = Number(field("shortest").value || 0);
    const high = Number(field("longest").value || Infinity);
    const fits = outcome === "all" || (outcome === "correct") === row.r >= 1;
    return fits && row.n >= low && row.n <= high;
  };
  let place = 0;

  function response(row, scale) {
    const box = element("div", "response");
    const outcome = row.r >= 1 ? "correct" : row.r > 0 ? `partly right (${row.r})` : "wrong";
    const each = weights(row);
    const low = Math.min(...each), high = Math.max(...each);
    const spread = low === high ? signed(low) : `${signed(low)} … ${signed(high)}`;
    const more = row.k.length < row.n ? `, the first ${row.k.length} shown` : "";
    box.append(element("div", "about", `${outcome}, reward ${row.r}, ${row.n} tokens${more}, weight ${spread}`));
    const tokens = element("div", "tokens");
    row.k.forEach((token, index) => {
      const span = element("span", "", token);
      const share = scale ? Math.min(Math.abs(each[index]) / scale, 1) : 0;
      const base = each[index] > 0 ? "--up" : "--down";
      span.style.backgroundColor = share ? `rgba(var(${base}), ${0.08 + 0.72 * share})` : "transparent";
      span.title = signed(each[index]);
      tokens.append(span, " ");
    });
    box.append(tokens);
    return box;
  }

  function draw() {
    const chosen = sides.map((select) => Number(select.value));
    const rows = data.rows.filter((row) => chosen.includes(row.a) && shown(row));
    const groups = [...new Set(rows.map((row) => row.g))];
    place = Math.max(0, Math.min(place, groups.length - 1));
    const group = data.groups[groups[place]];
    field("previous").disabled = place === 0;
    field("next").disabled = place >= groups.length - 1;
    root.querySelector(".count").textContent = groups.length ? `${place + 1} of ${groups.length}` : "none fits";
    const prompt = root.querySelector(".prompt");
    prompt.textContent = group ? `Step ${group.t}, seed ${group.s}. Prompt: ${group.p}` : "";
    const here = rows.filter((row) => row.g === groups[place]);
    const largest = (some) => Math.max(0, ...some.flatMap((row) => weights(row).map(Math.abs)));
    const columns = root.querySelector(".sides");
    columns.replaceChildren();
    chosen.forEach((arm, side) => {
      const column = element("div");
      column.append(element("h4", "", data.arms[arm]));
      const own = here.filter((row) => row.a === arm);
      const scale = field("scale").checked ? largest(here) : largest(own);
      own.forEach((row) => column.append(response(row, scale)));
      if (!own.length) column.append(element("p", "empty", "No response of this method here fits the filter."));
      columns.append(column);
    });
  }

  root.addEventListener("input", () => { place = 0; draw(); });
  for (const [name, by] of [["previous", -1], ["next", 1]]) {
    field(name).addEventListener("click", () => { place += by; draw(); });
  }
  root.hidden = false;
  draw();
}

showFullSize();
const samples = document.getElementById("samples");
if (samples) browse(document.getElementById("browser"), JSON.parse(samples.textContent));
