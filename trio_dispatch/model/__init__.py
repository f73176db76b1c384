"""The values of the domain, and pure functions of values and a given time.  Nothing here does I/O.

- `dispatch`, `target`, `payload`, `recurrence`: a dispatch and its parts.
- `content`: what a dispatch says, without what its service adds; skipping an occurrence.
- `local_time`: schedules by the clocks of a place, expanded into dispatches in UTC.
- `events`: what a dispatcher announces.
- `undecodable`: what stands for a dispatch that could not be decoded.
- `expansion`: which components a target means.
- `arbitration`: which dispatch drives a component.
- `formatting`: durations, ids and targets as text.
- `times`: times with nanoseconds.
- `validation`: the checks of what a user passes in.
"""
