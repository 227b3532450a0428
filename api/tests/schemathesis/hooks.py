"""What schemathesis has to know of Wharfinger's schema: its scalars, and what no answer may be."""

from hypothesis import strategies as st

import schemathesis
from schemathesis.graphql import nodes

CODES = {"UNAUTHENTICATED", "FORBIDDEN", "BAD_REQUEST", "RATE_LIMITED", "LIMIT_EXCEEDED"}

credits = st.decimals(min_value=-(10**7), max_value=10**7, places=6).map(lambda value: f"{value:f}")
instants = st.datetimes().map(lambda instant: instant.isoformat() + "Z")
schemathesis.graphql.scalar("Credits", (credits | st.text()).map(nodes.String))
schemathesis.graphql.scalar("DateTime", (instants | st.text()).map(nodes.String))
schemathesis.graphql.scalar("ByteSize", st.integers().map(nodes.Int))


@schemathesis.check
def is_answered(ctx, response, case):
    """A well-formed answer, whose errors are the caller's: no fault of the server's, and none without a code."""
    assert response.status_code < 500, f"status {response.status_code}"
    for error in response.json().get("errors", []):
        code = error.get("extensions", {}).get("code")
        assert code in CODES, f"an error with the code {code}"
