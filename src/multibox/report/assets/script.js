"use strict";
(function () {
  const root = document.documentElement;
  const remembered = "multibox-theme";
  try {
    const theme = localStorage.getItem(remembered);
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  } catch (error) { /* a browser may forbid it for files; then the choice lasts as long as the page */ }
  document.getElementById("theme").addEventListener("click", function () {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try { localStorage.setItem(remembered, root.dataset.theme); } catch (error) { /* see above */ }
  });

  // What is folded away on a screen is printed.
  let folded = [];
  addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("details:not([open])"));
    folded.forEach(function (one) { one.open = true; });
  });
  addEventListener("afterprint", function () { folded.forEach(function (one) { one.open = false; }); });

  // A hint beside the pointer: the values of a plot at the nearest of its points.
  const hint = document.getElementById("hint");
  document.querySelectorAll(".plot[data-hints]").forEach(function (drawing) {
    const hints = JSON.parse(drawing.dataset.hints);
    function nearest(event) {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
      function distance(one) {
        const across = one[0] - place.x, down = one[1] - place.y;
        return hints.by === "x" ? Math.abs(across) : hints.by === "y" ? Math.abs(down) : across * across + down * down;
      }
      return hints.points.reduce(function (best, one) { return distance(one) < distance(best) ? one : best; });
    }
    drawing.addEventListener("pointermove", function (event) {
      hint.textContent = nearest(event)[2];
      hint.hidden = false;
      const room = document.documentElement.clientWidth - hint.offsetWidth - 8;
      hint.style.left = Math.max(8, Math.min(event.clientX + 14, room)) + "px";
      hint.style.top = Math.max(8, event.clientY - hint.offsetHeight - 12) + "px";
    });
    drawing.addEventListener("pointerleave", function () { hint.hidden = true; });
  });
  addEventListener("scroll", function () { hint.hidden = true; }, { passive: true });

  // Tables as files. A cell that a spreadsheet would take for a formula is made a text.
  function cellsOf(row) {
    return Array.from(row.children).flatMap(function (cell) {
      if (cell.dataset.values !== undefined) return cell.dataset.values.split(";");
      const text = cell.innerText.replace(/\s+/g, " ").trim();
      return [text === "\u2013" || text === "-" ? "" : text];
    });
  }
  function quoted(text) {
    if (/^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.,]+( %)?$/.test(text) && !/^[+-][\d.]+ to [+-][\d.]+$/.test(text)) text = "'" + text;
    return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }
  function csv(table) {
    const more = Array.from(document.querySelectorAll("table[data-more-of]")).filter(function (other) { return other.dataset.moreOf === table.dataset.csv; });
    const rows = [table].concat(more).flatMap(function (one) { return Array.from(one.querySelectorAll("tr:not(.axis)")); });
    return rows.map(function (row) { return cellsOf(row).map(quoted).join(","); }).join("\r\n") + "\r\n";
  }
  document.querySelectorAll("table[data-csv]").forEach(function (table) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "csv";
    button.textContent = "CSV";
    button.title = "Save this table as a file";
    button.addEventListener("click", function () {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(["\ufeff" + csv(table)], { type: "text/csv" }));
      link.download = table.dataset.csv.replace(/[^\w]+/g, "-") + ".csv";
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
    });
    const box = document.createElement("div"), scroller = table.parentElement;
    scroller.replaceWith(box);
    box.append(scroller, button);
  });

  // Counts or shares in the matrix of confusions.
  document.querySelectorAll(".switch button").forEach(function (button) {
    button.addEventListener("click", function () {
      document.querySelectorAll(".confusion").forEach(function (table) { table.dataset.show = button.dataset.show; });
      document.querySelectorAll(".switch button").forEach(function (one) { one.setAttribute("aria-pressed", one === button); });
    });
  });

  // Whole images, one after the other.
  const viewer = document.getElementById("viewer");
  if (viewer) {
    const scenes = Array.from(document.querySelectorAll(".strip .scene, #scenes .scene"));
    const stage = document.getElementById("viewer-stage");
    function idOf(scene) { return (scene.querySelector("[data-scene]") || scene).dataset.scene; }
    let at = 0;
    function turn(to) {
      at = (to + scenes.length) % scenes.length;
      const scene = scenes[at], copy = scene.querySelector(".pair").cloneNode(true);
      copy.querySelectorAll("[id]").forEach(function (one) { one.removeAttribute("id"); });
      stage.replaceChildren(copy);
      document.getElementById("viewer-title").textContent = scene.querySelector(".file").textContent;
      document.getElementById("viewer-place").textContent = (at + 1) + " of " + scenes.length;
      document.getElementById("viewer-words").textContent = scene.querySelector(".words").textContent;
    }
    function open(button) {
      turn(scenes.findIndex(function (scene) { return idOf(scene) === button.dataset.scene; }));
      const wanted = [];
      if (button.dataset.item !== undefined) wanted.push(".truth[data-row='" + button.dataset.item + "']");
      if (button.dataset.row !== undefined) wanted.push(".found[data-row='" + button.dataset.row + "']");
      if (wanted.length) stage.querySelectorAll(wanted.join(",")).forEach(function (box) { box.classList.add("meant"); });
      viewer.showModal();
    }
    document.querySelectorAll("button[data-scene]").forEach(function (button) {
      button.addEventListener("click", function () { open(button); });
    });
    document.getElementById("viewer-before").addEventListener("click", function () { turn(at - 1); });
    document.getElementById("viewer-next").addEventListener("click", function () { turn(at + 1); });
    document.getElementById("viewer-close").addEventListener("click", function () { viewer.close(); });
    viewer.addEventListener("click", function (event) { if (event.target === viewer) viewer.close(); });
    viewer.addEventListener("keydown", function (event) {
      if (event.key === "ArrowLeft") turn(at - 1);
      else if (event.key === "ArrowRight") turn(at + 1);
      else return;
      event.preventDefault();
    });
  }

  const source = document.getElementById("counts");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const slider = document.getElementById("chosen");
  const whose = document.getElementById("whose");
  const plot = document.querySelector(".wide-plot .plot");

  const none = "\u2013";
  function share(part, whole, ifNone) { return whole > 0 ? part / whole : ifNone; }
  function measures(one, at) {
    const hits = one.hits[at], shown = one.shown[at];
    return {
      hits: hits, shown: shown, objects: one.objects,
      precision: share(hits, shown, 1), recall: share(hits, one.objects, 0), f1: share(2 * hits, shown + one.objects, 0),
    };
  }
  const counted = data.classes.filter(function (one) { return one.objects > 0; });
  function curve(name, at) {
    const label = Number(whose.value);
    if (label >= 0) return measures(data.classes[label], at)[name];
    return counted.reduce(function (sum, one) { return sum + measures(one, at)[name]; }, 0) / counted.length;
  }
  function percent(value) { return Math.round(100 * value) + " %"; }
  function put(id, text) { document.getElementById(id).textContent = text; }
  function x(value) { return data.frame.left + value * (data.frame.right - data.frame.left); }
  function y(value) { return data.frame.bottom + value * (data.frame.top - data.frame.bottom); }
  function line(points) {
    return points.map(function (one, i) { return (i ? "L " : "M ") + one[0].toFixed(2) + " " + one[1].toFixed(2); }).join(" ");
  }

  function drawCurves() {
    ["precision", "recall", "f1"].forEach(function (name) {
      const points = data.thresholds.map(function (threshold, at) { return [x(threshold), y(curve(name, at))]; });
      plot.querySelector("." + name + " path").setAttribute("d", line(points));
    });
  }
  function show() {
    const at = Number(slider.value), threshold = data.thresholds[at], label = Number(whose.value);
    put("chosen-value", threshold.toFixed(2));
    slider.setAttribute("aria-valuetext", threshold.toFixed(2));
    const place = x(threshold);
    plot.querySelector(".chosen path").setAttribute("d", line([[place, data.frame.bottom], [place, data.frame.top]]));
    ["precision", "recall", "f1"].forEach(function (name) { put("live-" + name, percent(curve(name, at))); });
    const some = label >= 0 ? [data.classes[label]] : data.classes;
    const sum = some.reduce(function (total, one) {
      return { hits: total.hits + one.hits[at], shown: total.shown + one.shown[at], objects: total.objects + one.objects };
    }, { hits: 0, shown: 0, objects: 0 });
    put("live-wrong", (sum.shown - sum.hits).toLocaleString("en"));
    put("live-shown", "of " + sum.shown.toLocaleString("en") + " shown");
    put("live-missed", (sum.objects - sum.hits).toLocaleString("en"));
    put("live-objects", "of " + sum.objects.toLocaleString("en") + " objects");
    document.querySelectorAll("#live-table tbody tr").forEach(function (row) {
      const one = measures(data.classes[Number(row.dataset.label)], at);
      const values = [one.objects, one.hits, one.objects - one.hits, one.shown - one.hits].map(function (value) { return value.toLocaleString("en"); });
      values.push(one.shown ? percent(one.precision) : none, one.objects ? percent(one.recall) : none);
      values.push(one.objects ? percent(one.f1) : none);
      values.forEach(function (value, i) { row.children[i + 1].textContent = value; });
    });
  }
  slider.addEventListener("input", show);
  whose.addEventListener("change", function () { drawCurves(); show(); });
  document.getElementById("suggested").addEventListener("click", function () { slider.value = data.suggested; show(); });
  // A browser that goes back to a page puts the controls where they were left.
  drawCurves();
  show();
})();
