//! The schema as the gateway tells it, and documents written from it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Types, fields and arguments; names lead through lists and non-null.
pub(crate) const QUERY: &str = "{ __schema { types { kind name possibleTypes { name }
    fields { name args { ...V } type { ...T } } inputFields { ...V } enumValues { name } } } }
fragment V on __InputValue { name defaultValue type { ...T } }
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// A schema.
pub(crate) struct Schema(pub(crate) BTreeMap<String, Type>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Type {
    pub(crate) kind: String,
    name: String,
    pub(crate) fields: Option<Vec<Field>>,
    pub(crate) input_fields: Option<Vec<Input>>,
    enum_values: Option<Vec<Name>>,
    pub(crate) possible_types: Option<Vec<Name>>,
}

#[derive(Deserialize)]
pub(crate) struct Name {
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    args: Vec<Input>,
    #[serde(rename = "type")]
    of: Reference,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    pub(crate) name: String,
    default_value: Option<String>,
    #[serde(rename = "type")]
    of: Reference,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    kind: String,
    name: Option<String>,
    of_type: Option<Box<Reference>>,
}

impl Reference {
    /// The named type, whatever it is wrapped in.
    fn named(&self) -> &str {
        match (&self.name, &self.of_type) {
            (Some(name), _) => name,
            (None, Some(inner)) => inner.named(),
            (None, None) => panic!("a type without a name"),
        }
    }

    fn is_list(&self) -> bool {
        self.kind == "LIST" || self.of_type.as_ref().is_some_and(|inner| inner.is_list())
    }
}

impl Field {
    /// The named type of what it answers.
    pub(crate) fn named(&self) -> &str {
        self.of.named()
    }

    pub(crate) fn needs_nothing(&self) -> bool {
        !self.args.iter().any(Input::is_required)
    }
}

impl Input {
    fn is_required(&self) -> bool {
        self.of.kind == "NON_NULL" && self.default_value.is_none()
    }
}

impl Schema {
    /// Reads the answer to [`QUERY`].
    pub(crate) fn read(answer: &Value) -> Self {
        let types: Vec<Type> = serde_json::from_value(answer["__schema"]["types"].clone()).unwrap();
        let own = types.into_iter().filter(|of| !of.name.starts_with("__"));
        let sorted = own.map(|mut of| {
            if let Some(fields) = &mut of.fields {
                fields.sort_by(|a, b| a.name.cmp(&b.name));
            }
            (of.name.clone(), of)
        });
        Self(sorted.collect())
    }

    /// The fields of an object or interface.
    pub(crate) fn fields(&self, of: &str) -> &[Field] {
        self.0[of].fields.as_deref().unwrap_or_default()
    }

    fn is_leaf(&self, of: &str) -> bool {
        matches!(&*self.0[of].kind, "SCALAR" | "ENUM")
    }

    /// Everything that can be selected of a type so deep, as ` { … }`; nothing for a leaf.
    pub(crate) fn selection(&self, of: &str, depth: usize) -> String {
        if self.is_leaf(of) {
            return String::new();
        }
        let inner = self
            .fields(of)
            .iter()
            .filter(|field| field.needs_nothing())
            .filter(|field| depth > 0 || self.is_leaf(field.named()))
            .fold(String::new(), |text, field| {
                let below = self.selection(field.named(), depth.saturating_sub(1));
                format!("{text} {}{below}", field.name)
            });
        format!(" {{ __typename{inner} }}")
    }

    /// The ways to ask for a field: with what it requires alone, then with each optional argument that is `wanted`, by its type
    /// and whether it stands at the top. `value` says what to write for an argument, by its coordinate and type.
    pub(crate) fn ways(
        &self,
        of: &str,
        field: &Field,
        wanted: fn(&str, bool) -> bool,
        value: &dyn Fn(&str, &str) -> String,
    ) -> Vec<(String, String)> {
        let coordinate = format!("{of}.{}", field.name);
        // `(name: value, …)` with what is required, and what the path leads to.
        let arguments = |path: Option<&str>| {
            let given = self.given(&field.args, &coordinate, path, value);
            let given = (!given.is_empty()).then(|| format!("({given})"));
            given.unwrap_or_default()
        };
        let mut ways = vec![(coordinate.clone(), arguments(None))];
        for path in self.optional(&field.args, true, wanted) {
            let asked = format!("{coordinate}({path}:)");
            ways.push((asked, arguments(Some(path.as_str()))));
        }
        ways
    }

    /// The paths of what is optional and wanted.
    fn optional(&self, inputs: &[Input], top: bool, wanted: fn(&str, bool) -> bool) -> Vec<String> {
        let mut paths = Vec::new();
        for input in inputs {
            let named = input.of.named();
            if !input.is_required() && wanted(named, top) {
                paths.push(input.name.clone());
            }
            let inner = self.0[named].input_fields.as_deref().unwrap_or_default();
            for path in self.optional(inner, false, wanted) {
                paths.push(format!("{}.{path}", input.name));
            }
        }
        paths
    }

    fn given(
        &self,
        inputs: &[Input],
        coordinate: &str,
        path: Option<&str>,
        value: &dyn Fn(&str, &str) -> String,
    ) -> String {
        let mut given = Vec::new();
        for input in inputs {
            let rest = path.and_then(|path| path.strip_prefix(&*input.name));
            let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('.'));
            if !input.is_required() && rest.is_none() {
                continue;
            }
            let (named, coordinate) = (input.of.named(), format!("{coordinate}.{}", input.name));
            let of = &self.0[named];
            let text = match (&of.input_fields, &of.enum_values) {
                (Some(inner), _) => {
                    let rest = rest.and_then(|rest| rest.strip_prefix('.'));
                    format!("{{{}}}", self.given(inner, &coordinate, rest, value))
                }
                (None, Some(values)) => values.last().unwrap().name.clone(),
                (None, None) => value(&coordinate, named),
            };
            let list = input.of.is_list() && !text.starts_with('[');
            let text = if list { format!("[{text}]") } else { text };
            given.push(format!("{}: {text}", input.name));
        }
        given.join(", ")
    }
}
