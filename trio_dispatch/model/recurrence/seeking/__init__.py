"""Finding the occurrences of a rule near a moment, however old the rule is.

Theory of operation
===================

Nothing is replayed from the start.  A rule means a set of moments (`series`), and the set is an
intersection of sets that each repeat, so that any part of it can be looked at without the parts
before:

*The by-lists about days* repeat with the calendar, every 400 years (`days`).

*The interval* repeats with itself (`phase`).  It counts months for YEARLY and MONTHLY, and
days for WEEKLY and DAILY.  HOURLY and MINUTELY need no counting of hours or minutes: 08:00 is an
occurrence of "every 7 hours" on the days whose number leaves one certain remainder when divided
by 7, 09:00 on those that leave another, and so for each time of the day.  So a fine interval, too,
only says which days may have an occurrence.  If it divides the day, they all are alike.

*The times of the day* are a set of 1,440 minutes (`times`); the seconds are the start's.
With a fine interval that does not divide the day, the set is cut down for each day anew.

A set of integers is a Python integer whose bits are the members (`bits`).  To seek is to take the
sets in a window that begins at the moment, shift them into line, intersect them, and look for the
least bit; backwards, the greatest (`active`).  A window is as long as a cycle of the calendar,
which makes it 600 bytes of months, or 18 KB of days, and there are 25 windows up to year 9999: that
bounds the cost of everything, rules that never fire included.  As days are the longer sets, some
steps are first made from day to day, which nearly always suffices.  Counting is done on the same
sets (`count`).

Minutes, days and months are numbered from 0, the beginning of year 1, a Monday.
"""

from .series import Never, Once, Series, recurring

__all__ = ["Never", "Once", "Series", "recurring"]
