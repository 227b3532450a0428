// A list of images that loads more as one scrolls: what a component `ImageList` asks for, with `usePaginationFragment`.
import { graphql } from 'relay-runtime';

export const ImageListFragment = graphql`
  fragment ImageList_query on Query
  @refetchable(queryName: "ImageListPaginationQuery")
  @argumentDefinitions(
    first: { type: "Int", defaultValue: 20 }
    after: { type: "String" }
    filter: { type: "ImageFilter" }
    orderBy: { type: "ImageOrder", defaultValue: PULLED_AT_DESC }
  ) {
    images(first: $first, after: $after, filter: $filter, orderBy: $orderBy)
      @connection(key: "ImageList_images", filters: ["filter", "orderBy"]) {
      edges {
        node {
          id
          ...ImageRow_image
        }
      }
    }
  }
`;

export const ImageListQuery = graphql`
  query ImageListQuery($filter: ImageFilter) {
    ...ImageList_query @arguments(filter: $filter)
  }
`;
