// What a committed dashboard must be, by Grafana's own types: each panel by its plugin's options.
// A JSON file has texts where Grafana has enums; `Written` allows exactly the texts of the enum.
import type { AnnotationQuery, Dashboard, DataQuery, FieldConfigSource, Panel, RowPanel } from '@grafana/schema';
import type {
  FieldConfig as HeatmapField,
  Options as HeatmapOptions,
} from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as StatesField,
  Options as StatesOptions,
} from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type {
  FieldConfig as TableField,
  Options as TableOptions,
} from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as LinesField,
  Options as LinesOptions,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Written<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Written<Item>[]
      : T extends object
        ? { [Key in keyof T]: Written<T[Key]> }
        : T;

interface PrometheusQuery extends DataQuery {
  expr: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
}

// Of Grafana's Prometheus plugin, whose types are in no package.
interface PrometheusAnnotation {
  textFormat: string;
  titleFormat: string;
}

type Of<Name extends string, Options, Field> = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: Name;
  options: Partial<Options>;
  fieldConfig: FieldConfigSource<Partial<Field>>;
  targets: PrometheusQuery[];
  title: string;
  description: string;
};

type AnyPanel =
  | Of<'timeseries', LinesOptions, LinesField>
  | Of<'stat', StatOptions, Record<string, never>>
  | Of<'state-timeline', StatesOptions, StatesField>
  | Of<'heatmap', HeatmapOptions, HeatmapField>
  | Of<'table', TableOptions, TableField>
  | RowPanel;

export type OurDashboard = Written<
  Omit<Dashboard, 'annotations' | 'panels'> & {
    annotations: { list: (AnnotationQuery<PrometheusQuery> & PrometheusAnnotation)[] };
    panels: AnyPanel[];
    title: string;
    uid: string;
  }
>;
