//! Logs as flat JSON: one object per line, with the fields of the event and those of the surrounding spans on the same
//! level.
//!
//! tracing-subscriber nests spans, and a span's own name overwrites its field `name`. To find the lines about one
//! object, a reader would have to know where in the code each of them was written.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::{Event, Subscriber};
use tracing_serde::fields::AsMap;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats an event as one flat JSON object.
pub struct Flat;

impl<S> FormatEvent<S, JsonFields> for Flat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let formatted = extensions.get::<FormattedFields<JsonFields>>();
            let of_span = formatted.and_then(|fields| serde_json::from_str::<Map<String, Value>>(fields).ok());
            fields.extend(of_span.into_iter().flatten());
        }
        // If a field occurs several times, the innermost value is used.
        if let Ok(Value::Object(of_event)) = serde_json::to_value(event.field_map()) {
            fields.extend(of_event);
        }
        let message = fields.remove("message").unwrap_or_default();
        let (level, target) = (event.metadata().level().as_str(), event.metadata().target());
        write!(
            writer,
            r#"{{"timestamp":"{:.6}","level":"{level}","message":{message},"target":{}"#,
            Timestamp::now(),
            json!(target)
        )?;
        for (name, value) in &fields {
            write!(writer, ",{}:{value}", json!(name))?;
        }
        writeln!(writer, "}}")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_its_own_fields_and_those_of_its_spans() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(Flat)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let _outer = tracing::error_span!("reconcile", namespace = "team-a", name = "ci").entered();
            let _inner = tracing::error_span!("sign_in", name = "another", tries = 2).entered();
            tracing::info!(code = 503, quote = "\"", missing = None::<&str>, "logged {}", "this");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let time = line["timestamp"].take();
        assert!(time.as_str().is_some_and(|time| time.parse::<Timestamp>().is_ok()), "{text}");
        assert_eq!(
            line,
            json!({
                "timestamp": null, "level": "INFO", "message": "logged this", "target": module_path!(),
                "namespace": "team-a", "name": "another", "tries": 2, "code": 503, "quote": "\"",
            })
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
