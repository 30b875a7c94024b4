// Before anything is painted: the theme that the reader chose last time.
try {
  const theme = localStorage.getItem("sst-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* a browser may refuse storage to files; then the system's setting holds */ }
