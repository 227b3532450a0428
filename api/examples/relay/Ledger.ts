// A statement of credits, backwards from the newest entry: a fragment on a type with an id is refetched through `node`.
import { graphql } from 'relay-runtime';

export const LedgerFragment = graphql`
  fragment Ledger_user on User
  @refetchable(queryName: "LedgerPaginationQuery")
  @argumentDefinitions(last: { type: "Int", defaultValue: 50 }, before: { type: "String" }) {
    balance {
      available
      held
      total
    }
    ledger(last: $last, before: $before) @connection(key: "Ledger_ledger") {
      edges {
        node {
          id
          kind
          amount
          totalAfter
          reference
          createdAt
        }
      }
    }
  }
`;

export const LedgerQuery = graphql`
  query LedgerQuery {
    viewer {
      ...Ledger_user
      ...JobList_viewer
    }
  }
`;
