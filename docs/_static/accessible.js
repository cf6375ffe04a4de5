/* What the theme and the gallery leave out: levels of the headings in the sidebar, a way for the keyboard to scroll, names of links
   and of landmarks, and lists that are none. */
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll(".caption[role=heading]:not([aria-level])")) caption.setAttribute("aria-level", "2");
  for (const wide of document.querySelectorAll(".table-wrapper, .highlight pre")) wide.tabIndex = 0;
  for (const list of document.querySelectorAll("dt > dl")) list.setAttribute("role", "presentation"); // parameters of a signature, without terms
  for (const [drawer, name] of [[".sidebar-drawer", "Pages"], [".toc-drawer", "On this page"]]) document.querySelector(drawer)?.setAttribute("aria-label", name);
  for (const card of document.querySelectorAll(".sphx-glr-thumbcontainer")) {
    const title = card.querySelector(".sphx-glr-thumbnail-title")?.textContent;
    for (const link of card.querySelectorAll("a.reference")) if (title) link.setAttribute("aria-label", title);
  }
});
