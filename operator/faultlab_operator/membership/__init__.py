"""Who is a member of a RaftCluster: brought from what its log says to what its spec says.

The members decide (joint consensus, thesis 4.3); the operator tells the leader who is wanted, and gives and
takes pods and volumes as the leader's configuration has come to say. All of it is computed anew each time
from the API server and from what the members answer: an operator that dies half-way costs nothing but time.
"""

from faultlab_operator.membership.keeper import MembershipKeeper
from faultlab_operator.membership.words import SETTLED, Outcome, membership_news, membership_said

__all__ = ["SETTLED", "MembershipKeeper", "Outcome", "membership_news", "membership_said"]
