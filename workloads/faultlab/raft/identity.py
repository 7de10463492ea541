"""Under which id a member runs, and when it must not.

A member that has voted or acknowledged entries and then comes back without them could vote a second time
in a term, or make a majority of members that lack a committed entry (paper, 5.2 and 5.4; Ongaro's thesis,
11.7.3 on lost disks). So an id is never revived with less than it had: the member is replaced, which gives
it a new id, and the new one joins as a learner that has promised nothing.
"""

from .errors import RaftError


class IdentityRefused(RaftError):
    """This member must not run under its id: what the id had promised is not here."""
