
// Two pictures of one crop with a divider between them, which the pointer and the keyboard move.
function comparison(shot, sides) {
  const pictures = new Map([...shot.querySelectorAll(".all img")].map((image) => [image.dataset.what, image]));
  const root = document.createElement("div"), frame = document.createElement("div");
  const range = document.createElement("input");
  root.className = "compare";
  frame.className = "frame";
  Object.assign(range, { type: "range", min: 0, max: 100, step: 1, value: 50 });
  const images = [new Image(), new Image()], tags = [0, 1].map(() => document.createElement("span"));
  frame.append(...images, document.createElement("i"), ...tags);
  root.append(frame, range);
  shot.querySelector(".all").before(root);

  function place() {
    frame.style.setProperty("--place", range.value + "%");
    const [left, right] = sides();
    range.setAttribute("aria-valuetext", `${range.value} % ${left}, ${100 - range.value} % ${right}`);
  }

  function show() {
    const chosen = sides();
    chosen.forEach((what, side) => {
      const source = pictures.get(what);
      images[side].src = source.src;
      images[side].alt = source.alt;
      for (const length of ["width", "height"]) images[side].setAttribute(length, source.getAttribute(length));
      tags[side].textContent = what;
    });
    root.style.maxWidth = images[0].width + "px";
    range.setAttribute("aria-label", `${shot.dataset.name}: divider between ${chosen[0]}, left, and ${chosen[1]}, right`);
    place();
  }

  function drag(event) {
    const box = frame.getBoundingClientRect();
    range.value = ((event.clientX - box.left) / box.width) * 100;
    place();
  }

  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    drag(event);
  });
  frame.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  range.addEventListener("input", place);
  show();
  return show;
}

// The choice of what stands left and right, one for all crops.
function comparisons(controls) {
  const shots = [...document.querySelectorAll(".shot")];
  const names = [...shots[0].querySelectorAll(".all img")].map((image) => image.dataset.what);
  const selects = ["left", "right"].map((side) => controls.querySelector(`[data-${side}]`));
  selects.forEach((select, side) => {
    select.append(...names.map((name) => new Option(name, name, false, name === names[side])));
  });
  const shown = shots.map((shot) => comparison(shot, () => selects.map((select) => select.value)));
  controls.addEventListener("change", () => shown.forEach((show) => show()));
  controls.hidden = false;
}

document.querySelectorAll("[data-sides]").forEach(comparisons);
