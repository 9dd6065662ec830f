"use strict";
/* A pop-up menu for mouse and keyboard. */
const menus = (() => {
  const box = format.byId("menu");
  let back = null; // what had the focus before

  /** items: [{label, action, hint?}] or {heading}; at: an element or a pointer event. */
  function open(items, at) {
    back = document.activeElement;
    box.replaceChildren(...items.map(makeItem));
    box.hidden = false;
    place(at);
    const first = box.querySelector("button");
    if (first) first.focus();
  }

  function makeItem(item) {
    if (item.heading) return format.element("p", { className: "menu-heading" }, item.heading);
    const button = format.element("button", { tabIndex: -1 }, item.label);
    button.setAttribute("role", "menuitem");
    if (item.image) {
      button.prepend(format.element("img", { className: "face", alt: "", src: item.image }));
    }
    if (item.hint) button.append(format.element("span", { className: "hint" }, item.hint));
    button.addEventListener("click", () => {
      close();
      item.action();
    });
    return button;
  }

  function place(at) {
    const area = at instanceof Element ? at.getBoundingClientRect() : null;
    const [x, y] = area ? [area.left, area.bottom + 4] : [at.clientX, at.clientY];
    const { offsetWidth: width, offsetHeight: height } = box;
    const above = area ? area.top - height - 4 : y - height;
    const below = y + height <= window.innerHeight - 8;
    box.style.left = `${Math.max(8, Math.min(x, window.innerWidth - width - 8))}px`;
    box.style.top = `${below ? y : Math.max(8, above)}px`;
  }

  function close() {
    if (box.hidden) return;
    box.hidden = true;
    if (back && back.isConnected) back.focus({ preventScroll: true });
  }

  function onKey(event) {
    const buttons = [...box.querySelectorAll("button")];
    const place = buttons.indexOf(document.activeElement);
    const steps = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: buttons.length - 1 };
    if (event.key in steps) {
      buttons[(steps[event.key] + buttons.length) % buttons.length].focus();
    } else if (event.key === "Escape" || event.key === "Tab") close();
    else if (/^[1-9]$/.test(event.key) && buttons[event.key - 1]) buttons[event.key - 1].click();
    else if (event.key.length === 1 && event.key !== " ") {
      const letter = event.key.toLowerCase();
      const rest = [...buttons.slice(place + 1), ...buttons.slice(0, place + 1)];
      const found = rest.find((one) => one.textContent.toLowerCase().startsWith(letter));
      if (found) found.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function start() {
    box.addEventListener("keydown", onKey);
    document.addEventListener("pointerdown", (event) => {
      if (!box.contains(event.target)) close();
    });
    window.addEventListener("blur", close);
  }

  return { start, open, close };
})();
