// The bars of one pull: the job's last known progress at first, and then what the subscription says of it.
import { graphql } from 'relay-runtime';

export const PullProgressFragment = graphql`
  fragment PullProgress_job on Job {
    progress {
      ...PullProgressBars_progress
    }
    error {
      code
      message
    }
  }
`;

export const PullProgressSubscription = graphql`
  subscription PullProgressSubscription($jobId: ID!) {
    pullProgress(jobId: $jobId) {
      job {
        id
        state
        progress {
          ...PullProgressBars_progress
        }
      }
    }
  }
`;
