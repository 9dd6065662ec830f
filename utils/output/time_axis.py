"""The words of a time axis: ticks and lengths."""

TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
MAX_TICKS = 14


def tick_step(length_s: float) -> float:
    """Return the seconds between two ticks of an axis."""
    return next((step for step in TICKS_S if length_s / step <= MAX_TICKS), 86400)


def tick_text(time_s: float, step_s: float, stop_s: float) -> str:
    """Return a time as the axis shows it: 7, 7.5, 1:07 or 1:02:07."""
    if stop_s < 60:
        return f"{time_s:.1f} s" if step_s < 1 else f"{time_s:.0f} s"
    minutes, seconds = divmod(round(time_s, 1), 60)
    tail = f"{seconds:04.1f}" if step_s < 1 else f"{seconds:02.0f}"
    if stop_s < 3600:
        return f"{minutes:.0f}:{tail}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:.0f}:{minutes:02.0f}:{tail}"


def length_text(time_s: float) -> str:
    """Return a duration for reading: 7.5 s, 1 min 07 s or 1 h 02 min."""
    if time_s < 59.95:
        return f"{time_s:.1f} s"
    minutes, seconds = divmod(round(time_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
