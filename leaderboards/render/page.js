const plots = JSON.parse(document.getElementById("plots")?.textContent || "{}")
const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement
// Okabe and Ito's colours, told apart by the colour-blind; dashes repeat on another cycle
const colours = () => ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", dark.matches && !root.classList.contains("printed") ? "#FFFFFF" : "#000000"]
const dashes = ["solid", "dash", "dot", "dashdot"]
function traces(lines) {
  return lines.flatMap((line, i) => {
    const colour = colours()[line.colour % 7], shared = { x: line.x, legendgroup: i, mode: "lines" }
    const edge = { ...shared, line: { width: 0 }, hoverinfo: "skip", showlegend: false }
    const band = line.low.length ? [{ ...edge, y: line.high },
      { ...edge, y: line.low, fill: "tonexty", fillcolor: colour + "26" }] : []
    return [...band, { ...shared, y: line.accuracy, name: line.name, line: { color: colour, width: 2.5, dash: dashes[line.dash % 4] },
      hovertemplate: "%{x:.3f}: %{y:.1f} %" }]
  })
}
function draw() {
  const style = getComputedStyle(root), text = style.getPropertyValue("--text").trim()
  const grid = style.getPropertyValue("--line").trim(), axis = { gridcolor: grid, zerolinecolor: grid, rangemode: "tozero" }
  for (const [group, own] of Object.entries(plots)) own.forEach((plot, i) =>
    Plotly.react(group + "-" + i, traces(plot.lines), {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text }, hovermode: "x unified",
      hoverlabel: { bgcolor: style.getPropertyValue("--back").trim() },
      xaxis: { ...axis, title: { text: plot.x } }, yaxis: { ...axis, title: { text: plot.y }, range: [0, 100] },
      width: root.classList.contains("printed") ? 960 : undefined,
      legend: { orientation: "h", y: 1, yanchor: "bottom" }, margin: { l: 55, r: 10, t: 10, b: 45 },
    }, { responsive: true, displaylogo: false }))
}
draw()
dark.addEventListener("change", draw)
const printing = on => () => { root.classList.toggle("printed", on); draw() }  // in light colours, as wide as the paper
addEventListener("beforeprint", printing(true))
addEventListener("afterprint", printing(false))
