"""Find the occurrences of a rule near a moment, however old the rule is.

Overview
========

A question enters at `series` and goes down this list; each module uses only those below it.

===========  =====================================================================================
module       question that it answers
===========  =====================================================================================
`series`     Which occurrence of this rule, with this start and end, is next, last, how many are
             there?  `recurring` compiles a rule.
`pattern`    Which minutes are occurrences, if the rule had neither a start nor an end?
`count`      How many occurrences are before a day, and which day has the n-th?
`active`     Which days may have occurrences: matched by the by-lists and met by the interval?
`times`      At which minutes of such a day?
`phase`      Which months or days does the interval meet?
`days`       Which days of the calendar do the by-lists match?
`bits`       Sets of integers, as the bits of Python integers.
===========  =====================================================================================

For example, `FREQ=MONTHLY;INTERVAL=3;BYDAY=MO;BYHOUR=8` from 15 January 2026, 00:30: `days` has the
Mondays, `phase` every third month from January 2026, `active` the Mondays in these months, `times`
the one minute 08:30, `pattern` these Mondays at 08:30, and `series` those from the start on.

Theory of operation
===================

Nothing is replayed from the start.  A rule means a set of moments, and the set is an intersection
of sets that each repeat, so that any part of it can be computed without the parts before:

*The by-lists about days* repeat with the calendar, every 400 years.

*The interval* repeats with itself.  It counts months for YEARLY and MONTHLY, and days for WEEKLY
and DAILY.  HOURLY and MINUTELY need no counting of hours or minutes: 08:00 is an occurrence of
"every 7 hours" on the days whose number leaves one certain remainder when divided by 7, 09:00 on
those that leave another, and so for each time of the day.  So a fine interval, too, only decides
which days may have an occurrence.  If it divides the day, all days are alike.

*The times of the day* are a set of 1,440 minutes; the seconds are the start's.  With a fine
interval that does not divide the day, the set is cut down for each day anew.

A set of integers is a Python integer whose bits are the members.  To seek is to take the sets in a
window that begins at the moment, shift them into line, intersect them, and look for the least bit;
backwards, the greatest.  As days are the longer sets, a few steps are first made from day to day,
which nearly always suffices.

Minutes, days and months are numbered from 0, the beginning of year 1, a Monday.

Cost
====

A window is a cycle of the calendar: 600 bytes of months, or 18 KB of days.  There are 25 of them up
to year 9999.  That bounds every question, whatever a peer sends, rules that never fire included.
The first question compiles the rule.  On a machine of 2026 that takes 20 to 50 microseconds for the
rules that people write, and at most 5 ms for crafted ones, whose interval meets each minute of the
day on other days.  Each further question takes 5 microseconds, at most 1 ms.
"""

from .series import Never, Once, Series, recurring

__all__ = ["Never", "Once", "Series", "recurring"]
