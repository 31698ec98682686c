// Tabs for several tasks: one panel is shown.

const part = id => document.getElementById(id);
const tabs = [...document.querySelectorAll("[role=tab]")];

// The panel that is shown.
export const selected = () => tabs.find(tab => tab.ariaSelected === "true")?.getAttribute("aria-controls") ?? "song";

function select(tab) {
  for (const each of tabs) {
    const panel = each.getAttribute("aria-controls"), on = each === tab;
    each.ariaSelected = String(on);
    each.tabIndex = on ? 0 : -1;
    part(panel).hidden = !on;
    answerOf(panel).classList.toggle("elsewhere", !on);
  }
}

const answerOf = panel => part(panel === "song" ? "answer" : `${panel}-answer`);

for (const [at, tab] of tabs.entries()) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", event => {
    const to = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const other = tabs.at(to % tabs.length);
    select(other);
    other.focus();
  });
}
