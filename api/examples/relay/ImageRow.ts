// One image of a list, and letting go of it. The removal is a job: what it does to the image comes with the job's id.
import { graphql } from 'relay-runtime';

export const ImageRowFragment = graphql`
  fragment ImageRow_image on Image {
    familiarName
    sizeMegabytes
    charge
    visibility
    state
    host {
      name
    }
  }
`;

export const ImageRowRemoveMutation = graphql`
  mutation ImageRowRemoveMutation($input: RemoveImageInput!) {
    removeImage(input: $input) {
      job {
        id
        image {
          ...ImageRow_image
        }
      }
      userErrors {
        code
        message
        field
      }
    }
  }
`;
