// A click on a heading sorts its table by that column; a second click turns the order round.
const order = cell => { const text = cell.textContent.trim(), number = parseFloat(text.replace("−", "-"))
  return text === "–" || text === "" ? [2] : isNaN(number) ? [1, text] : [0, number] }
document.querySelectorAll(".board thead th").forEach(head => {
  const button = document.createElement("button")
  button.append(...head.childNodes)
  head.append(button)
  button.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending", place = head.cellIndex, body = head.closest("table").tBodies[0]
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort")
    head.setAttribute("aria-sort", up ? "ascending" : "descending")
    const lines = [...body.rows].map(row => [order(row.cells[place]), row])
    lines.sort(([a], [b]) => a[0] - b[0] || (up ? 1 : -1) * (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0))
    body.append(...lines.map(([, row]) => row))
  })
})
