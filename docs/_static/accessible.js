/* What the theme and the gallery leave out: levels of the headings in the sidebar, a way for the keyboard to scroll, names of links. */
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll(".caption[role=heading]:not([aria-level])")) caption.setAttribute("aria-level", "2");
  for (const wide of document.querySelectorAll(".table-wrapper, .highlight pre")) wide.tabIndex = 0;
  for (const card of document.querySelectorAll(".sphx-glr-thumbcontainer")) {
    const title = card.querySelector(".sphx-glr-thumbnail-title")?.textContent;
    for (const link of card.querySelectorAll("a.reference")) if (title) link.setAttribute("aria-label", title);
  }
});
