"""One-time passwords: computed where the seed is kept, checked where devices are registered."""
