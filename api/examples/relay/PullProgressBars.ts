// What is drawn of a pull's progress.
import { graphql } from 'relay-runtime';

export const PullProgressBarsFragment = graphql`
  fragment PullProgressBars_progress on PullProgress {
    sequence
    phase
    downloaded
    total
    reused
    remainingSeconds
    layers {
      id
      state
      downloaded
      total
    }
  }
`;
