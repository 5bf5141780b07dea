"use strict";

// A table of many rows: sorts by a column, filters, shows some rows at a time.
function longTable(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const { names, columns, links, noun, pageRows } = data;
  const marked = new Set(data.marked);
  const all = names.map((_, row) => row);
  const find = (name) => root.querySelector(`[data-${name}]`);
  const body = root.querySelector("tbody");
  let rows = all, first = 0, sorted = null, rising = false;

  function text(column, row) {
    const units = column.units[row];
    if (units === null) return "–";
    const sign = column.signed && units >= 0 ? "+" : "";
    return sign + (units / 10 ** column.digits).toFixed(column.digits).replace("-", "−");
  }

  function line(row) {
    const element = document.createElement("tr");
    if (marked.has(row)) element.className = "marked";
    const name = document.createElement("th");
    name.scope = "row";
    const inside = links[row] ? name.appendChild(document.createElement("a")) : name;
    if (links[row]) inside.href = "#" + links[row];
    inside.textContent = names[row];
    element.append(name);
    for (const column of columns) element.insertCell().textContent = text(column, row);
    return element;
  }

  function show() {
    body.replaceChildren(...rows.slice(first, first + pageRows).map(line));
    const plural = rows.length === 1 ? noun : noun + "s";
    find("count").textContent = `${rows.length.toLocaleString("en")} ${plural}`;
    const last = Math.min(first + pageRows, rows.length);
    find("place").textContent = rows.length ? `${first + 1} to ${last} of ${rows.length}` : "none";
    find("back").disabled = first === 0;
    find("on").disabled = last === rows.length;
  }

  // Empty cells come last, whichever way the others are sorted.
  function compare(a, b) {
    if (sorted === -1) return (rising ? 1 : -1) * (names[a] < names[b] ? -1 : names[a] > names[b] ? 1 : 0);
    const [x, y] = [a, b].map((row) => columns[sorted].units[row]);
    if (x === null || y === null) return (x === null) - (y === null);
    return rising ? x - y : y - x;
  }

  function choose() {
    const part = find("name").value.toLowerCase();
    const column = columns[find("column").value];
    const [low, high] = ["low", "high"].map((end) => find(end).valueAsNumber * 10 ** column.digits);
    const only = find("marked")?.checked;
    rows = all.filter((row) => {
      const units = column.units[row];
      return (
        names[row].toLowerCase().includes(part) &&
        (isNaN(low) || (units !== null && units >= low - 1e-6)) &&
        (isNaN(high) || (units !== null && units <= high + 1e-6)) &&
        (!only || marked.has(row))
      );
    });
    if (sorted !== null) rows.sort(compare);
    first = 0;
    show();
  }

  const heads = [...root.querySelectorAll("[data-head] th")];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      rising = sorted === place - 1 ? !rising : place === 0;
      sorted = place - 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      choose();
    });
    head.replaceChildren(button);
  });
  find("back").addEventListener("click", () => { first -= pageRows; show(); });
  find("on").addEventListener("click", () => { first += pageRows; show(); });
  root.querySelector(".controls").addEventListener("input", choose);
  root.querySelector(".controls").hidden = root.querySelector(".pager").hidden = false;
  show();
}

// Pictures enlarge in a dialog, all of one area at the same place and zoom.
function viewer(dialog) {
  const stage = dialog.querySelector(".stage"), shown = stage.querySelector("img");
  const zoom = dialog.querySelector("[type=range]"), reading = dialog.querySelector(".reading");
  const choices = dialog.querySelector(".choices");
  const highest = Number(dialog.dataset.highest), colours = new Map();
  dialog.dataset.colours.match(/.{6}/g).forEach((colour, place) => colours.set(colour, place));
  let panels = null, pixels = null, isMap = false;

  function place(x, y) { // keeps the point of the picture at x, y of the stage where it is
    const [across, down] = [(stage.scrollLeft + x) / shown.width, (stage.scrollTop + y) / shown.height];
    shown.style.width = panels.dataset.width * zoom.value + "px";
    shown.style.height = panels.dataset.height * zoom.value + "px";
    stage.scrollLeft = across * shown.width - x;
    stage.scrollTop = down * shown.height - y;
    dialog.querySelector("output").textContent = `${zoom.value} screen pixels per LR pixel`;
  }

  function show(image) {
    isMap = "map" in image.dataset;
    shown.src = image.src;
    shown.alt = image.alt;
    dialog.querySelector(".bar").hidden = !isMap;
    reading.textContent = "Point at a pixel to read its value.";
    [...choices.children].forEach((b) => b.setAttribute("aria-pressed", b.image === image));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    pixels = (x, y) => context.getImageData(x, y, 1, 1).data;
    pixels.size = [canvas.width, canvas.height];
  }

  function open(image) {
    panels = image.closest(".panels");
    dialog.querySelector("strong").textContent = panels.dataset.title;
    choices.replaceChildren(...[...panels.querySelectorAll("img")].map((each) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = each.closest("figure").querySelector("figcaption").textContent;
      button.image = each;
      button.addEventListener("click", () => show(each));
      return button;
    }));
    show(image);
    dialog.showModal();
    const { width, height } = panels.dataset;
    zoom.value = Math.floor(Math.min(stage.clientWidth / width, innerHeight * 0.6 / height));
    place(0, 0);
  }

  function read(event) {
    const share = [event.offsetX / shown.width, event.offsetY / shown.height];
    const [x, y] = share.map((part, axis) => Math.min(Math.floor(part * pixels.size[axis]), pixels.size[axis] - 1));
    const lr = [Math.floor(share[1] * panels.dataset.height), Math.floor(share[0] * panels.dataset.width)];
    const rgb = [...pixels(x, y)].slice(0, 3);
    let value = `red ${rgb[0]}, green ${rgb[1]}, blue ${rgb[2]}`;
    if (isMap) {
      const step = colours.get(rgb.map((part) => part.toString(16).padStart(2, "0")).join(""));
      value = `theta ${step === 255 ? "at least " : ""}${(step / 255 * highest).toFixed(2)} gray levels`;
    }
    reading.textContent = `row ${lr[0]}, column ${lr[1]} of this area: ${value}`;
  }

  zoom.addEventListener("input", () => place(stage.clientWidth / 2, stage.clientHeight / 2));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom.value = Number(zoom.value) - Math.sign(event.deltaY);
    const corner = stage.getBoundingClientRect();
    place(event.clientX - corner.left, event.clientY - corner.top);
  }, { passive: false });
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" || !event.buttons) return;
    stage.scrollLeft -= event.movementX;
    stage.scrollTop -= event.movementY;
  });
  shown.addEventListener("dragstart", (event) => event.preventDefault());
  shown.addEventListener("pointermove", read);
  shown.addEventListener("click", read);
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  document.querySelectorAll(".panels img").forEach((image) => {
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    image.addEventListener("click", () => open(image));
    image.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(image); }
    });
  });
}

document.documentElement.classList.add("script");
document.querySelectorAll(".long").forEach(longTable);
document.querySelectorAll("#viewer").forEach(viewer);
