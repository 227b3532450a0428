//! The counts that the limits apply to.

/// The counts of a document, or of a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Fields and fragment spreads.
    pub(crate) fields: u64,
    pub(crate) aliases: u64,
    pub(crate) directives: u64,
    /// Levels of fields inside fields.
    pub(crate) depth: u64,
    pub(crate) complexity: u64,
    /// Fields at the top of the selections, in however many fragments. A field of introspection counts as two.
    pub(super) top_fields: u64,
    /// Whether a subscription has more than one field at its root.
    pub(super) subscribes_to_several: bool,
    /// Complexity that counts once for each item of the connection around it.
    pub(super) each_item: u64,
    /// Levels of selections inside selections, fragments included.
    pub(super) levels: u32,
    /// Levels of the schema's lists inside each other.
    pub(crate) schema_lists: u64,
    /// Number of `__schema` fields.
    pub(crate) schemas: u64,
    /// Number of `__type` fields.
    pub(crate) types: u64,
}

impl Sizes {
    /// Returns the counts of both, side by side.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            depth: self.depth.max(other.depth),
            complexity: self.complexity.saturating_add(other.complexity),
            top_fields: self.top_fields.saturating_add(other.top_fields),
            subscribes_to_several: self.subscribes_to_several || other.subscribes_to_several,
            each_item: self.each_item.saturating_add(other.each_item),
            levels: self.levels.max(other.levels),
            schema_lists: self.schema_lists.max(other.schema_lists),
            schemas: self.schemas.saturating_add(other.schemas),
            types: self.types.saturating_add(other.types),
        }
    }

    /// Returns whether there is a field of introspection.
    pub(super) fn introspects(&self) -> bool {
        self.schemas > 0 || self.types > 0
    }

    /// Returns the counts as seen from one level further out.
    pub(super) fn inside(mut self) -> Self {
        self.levels += 1;
        self
    }
}
