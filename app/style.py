"""What Streamlit's own look lacks: room, contrast, paper, and less motion for who asks for it.

A page is shown when all of it is there whose height nobody knows before: texts, code, controls. Tables and plots have a
height from the start, and come later. So STYLE is part of the page as it is served (`app.server`).
"""

STYLE = """<style>
[data-testid=stMain]:not(:has(.drawn)), :is([data-testid=stMain], [data-testid=stDialog]):has(
    [data-testid=stSkeleton]:not([class*=st-key-table-of] *, [class*=st-key-plot-of] *)
) { visibility: hidden; animation: show 0s 10s forwards; }
@keyframes show { to { visibility: visible; } }
[data-testid=stApp]:not(:has(.drawn))::before {
  content: "Reading the board …"; position: fixed; top: 1rem; left: clamp(1rem, 2vw, 2rem);
}
[data-testid=stMainBlockContainer] { padding: 1rem clamp(1rem, 2vw, 2rem) 4rem; }
[data-testid=stHeader] { height: 0; min-height: 0; background: transparent; }
[data-testid=stCaptionContainer], [data-testid=stCaptionContainer] * { opacity: 1; color: inherit; }
[data-testid=stMain] h1 { font-size: clamp(1.5rem, 4vw, 2.2rem); padding: 0.25rem 0; }
[data-testid=stMain] h2 { font-size: clamp(1.2rem, 3vw, 1.5rem); padding: 0.5rem 0 0.25rem; }
[data-testid=stMain] h3 { font-size: 1.1rem; padding: 0.25rem 0; }
[data-testid=stText], [data-testid=stText] * { white-space: pre-wrap; overflow-wrap: anywhere; }
.st-key-navigation { overflow-x: auto; flex-wrap: nowrap; gap: 0.25rem; border-bottom: 1px solid #8886; }
.st-key-navigation [data-testid=stPageLink] p { white-space: nowrap; }
[data-testid=stPageLink] p, [data-testid=stDownloadButton] p { text-decoration: underline; }
.st-key-navigation [data-testid=stPageLink] p { text-decoration: none; }
span[data-tag-index] { background: #005A8D !important; color: #FFFFFF !important; }
[data-testid=stMetricValue] { font-size: clamp(1.2rem, 3vw, 1.8rem); }
[class*=st-key-table-of] [data-testid=stElementToolbar]:not(:has([aria-label*=fullscreen])) {
  top: auto; bottom: -3.2rem;
}
.st-key-pair > * { min-width: min(100%, 320px); }
[data-testid=stPlotlyChart] { min-height: 420px; }
@media (max-width: 640px) {
  [data-testid=stVerticalBlock] { gap: 0.6rem; }
  [data-testid=stMarkdownContainer] p { line-height: 1.35; }
  .st-key-links { flex-wrap: nowrap; overflow-x: auto; }
  .st-key-links p { white-space: nowrap; }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation-duration: 0.01ms !important; transition-duration: 0.01ms !important; }
}
@media print {
  @page { size: landscape; margin: 1cm; }
  [data-testid=stHeader], .st-key-navigation, .st-key-controls, .st-key-settings, [data-testid=stExpander],
  [data-testid=stDownloadButton], [data-testid=stElementToolbar], .modebar { display: none !important; }
  [data-testid=stApp], [data-testid=stMain], [data-testid=stAppViewContainer] {
    position: static !important; overflow: visible !important; height: auto !important;
  }
  [data-testid=stMain] { zoom: var(--paper, 1); }
  [data-testid=stPlotlyChart], [data-testid=stDataFrame] { break-inside: avoid; }
  [data-testid=stElementContainer]:has(h2, h3),
  [data-testid=stElementContainer]:has(+ * [data-testid=stPlotlyChart]) { break-after: avoid; }
}
</style>
<script>
// tables and plots keep the width that they have on the screen: on paper the page gets as small as makes it fit
const paper = () => document.documentElement.style.setProperty("--paper", Math.min(1, 1040 / innerWidth))
addEventListener("beforeprint", paper)
</script>"""
