// Before anything is painted: which theme was chosen, and that scripts run.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing follows the system.
}
document.documentElement.classList.add("js");
