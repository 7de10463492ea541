// A cursor through all charts at once, with the numbers of its quarter of a second; and the event filters.
(() => {
  const data = JSON.parse(document.getElementById("buckets").textContent);
  const tip = document.getElementById("tip");
  const charts = [...document.querySelectorAll("svg.chart[data-left]")];
  const show = (event, svg) => {
    const box = svg.getBoundingClientRect();
    const left = +svg.dataset.left, right = +svg.dataset.right;
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    if (x < left || x > right) return hide();
    const seconds = data.from + (x - left) / (right - left) * (data.to - data.from);
    for (const chart of charts) {
      const cursor = chart.querySelector(".cursor");
      cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.style.opacity = .5;
    }
    const row = data.rows[Math.floor((seconds - data.start) / data.width)];
    const ms = value => value === null ? "–" : value < 10 ? value.toFixed(1) + " ms" : Math.round(value) + " ms";
    tip.textContent = "";
    const lines = [seconds.toFixed(2) + " s"];
    if (row) lines.push(
      row[0] + " reads/s, " + row[1] + " writes/s", row[2] + " refused/s, " + row[3] + " unknown/s",
      "p50 " + ms(row[4]) + ", p99 " + ms(row[5]) + ", max " + ms(row[6]));
    for (const line of lines) { const div = document.createElement("div"); div.textContent = line; tip.append(div); }
    tip.style.display = "block";
    tip.style.left = Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8) + "px";
  };
  const hide = () => {
    tip.style.display = "none";
    for (const chart of charts) chart.querySelector(".cursor").style.opacity = 0;
  };
  for (const svg of charts) {
    svg.addEventListener("pointermove", event => show(event, svg));
    svg.addEventListener("pointerleave", hide);
  }
  for (const box of document.querySelectorAll(".filters input")) {
    box.addEventListener("change", () => {
      for (const row of document.querySelectorAll(`tr[data-source="${box.value}"]`)) row.hidden = !box.checked;
    });
  }
})();
