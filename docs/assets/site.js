// What the theme lacks for readers without a mouse or a screen.
function makeScrollable() {
  // Wide tables and code scroll sideways: the keyboard can reach them, too.
  for (const part of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) {
    part.tabIndex = part.scrollWidth > part.clientWidth ? 0 : -1;
  }
}
function nameLandmarks() {
  document.querySelectorAll(".md-code__nav").forEach((part, i) => part.setAttribute("aria-label", `Code ${i + 1}`));
}
addEventListener("load", () => { makeScrollable(); nameLandmarks(); });
addEventListener("resize", makeScrollable);
