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
