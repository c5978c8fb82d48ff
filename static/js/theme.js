// Sets the remembered theme before the first paint; an ordinary script, because modules run after it.
try {
  document.documentElement.dataset.theme = localStorage.getItem('mission-dashboard.theme') ?? 'dark';
} catch {
  document.documentElement.dataset.theme = 'dark';
}
