"""Schedules by the clocks of a place, expanded into dispatches, which are in UTC.

===========  =====================================================================================
module       question that it answers
===========  =====================================================================================
`schedule`   Which dispatches together do what a schedule in local time says?
`pieces`     Which runs of occurrences can be one rule each?
`shifting`   Which rules in UTC have the occurrences of a local rule at a given offset?
`monthdays`  Which days of the month are the days before or after some others?
`clocks`     When do the clocks change, and which moment is a local time?
`free_days`  Which days are holidays?
===========  =====================================================================================

A *wall time* is what the clocks of the place show, written as a datetime that says UTC, so that
rules can be asked about it.
"""
