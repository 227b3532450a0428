// The viewer's jobs, newest first; a new pull goes to the head of every list that is named in `$connections`.
import { graphql } from 'relay-runtime';

export const JobListFragment = graphql`
  fragment JobList_viewer on User
  @refetchable(queryName: "JobListPaginationQuery")
  @argumentDefinitions(first: { type: "Int", defaultValue: 20 }, after: { type: "String" }) {
    jobs(first: $first, after: $after) @connection(key: "JobList_jobs") {
      __id
      edges {
        node {
          id
          reference
          state
          ...PullProgress_job
        }
      }
    }
  }
`;

export const JobListPullMutation = graphql`
  mutation JobListPullMutation($input: PullImageInput!, $connections: [ID!]!) {
    pullImage(input: $input) {
      job @prependNode(connections: $connections, edgeTypeName: "JobEdge") {
        id
        reference
        state
        ...PullProgress_job
      }
      userErrors {
        code
        message
        field
      }
    }
  }
`;

export const JobListChangesSubscription = graphql`
  subscription JobListChangesSubscription {
    jobUpdated {
      id
      state
      ...PullProgress_job
    }
  }
`;
