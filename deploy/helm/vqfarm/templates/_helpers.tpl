{{- define "vqfarm.labels" -}}
app.kubernetes.io/name: vqfarm
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "vqfarm.selector" -}}
app.kubernetes.io/name: vqfarm
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vqfarm.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary .Release.Name "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* What coordinator and workers must know alike. */}}
{{- define "vqfarm.env" -}}
- name: VQFARM_REDIS
  valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: redis-url}}
- {name: VQFARM_FARM, value: {{ .Values.farm.name | quote }}}
- {name: VQFARM_STORAGE, value: {{ .Values.farm.storage | quote }}}
{{- with .Values.farm.s3Endpoint }}
- {name: VQFARM_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
- {name: AWS_REGION, value: {{ .Values.farm.s3Region | quote }}}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: aws-access-key-id, optional: true}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: aws-secret-access-key, optional: true}}
- {name: VQFARM_LEASE, value: {{ .Values.farm.lease | quote }}}
- {name: VQFARM_ATTEMPTS, value: {{ .Values.farm.attempts | quote }}}
- {name: VQFARM_METRICS_LISTEN, value: "0.0.0.0:9464"}
- {name: VQFARM_LOG_FORMAT, value: json}
{{- with .Values.telemetry }}
{{- if .endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .protocol }}}
{{- if ne .sampleRatio nil }}
- {name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ .sampleRatio | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "vqfarm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "vqfarm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Tasks that a class of workers could have: they ask for none but its tags, and for no more memory.
     Called with the class; several coordinators tell the same, so the largest counts. Nobody asking for
     anything is 0; nobody measuring is no answer, and the class stays as large as it is. */}}
{{- define "vqfarm.demand" -}}
{{- $tags := list }}
{{- range concat .class.tags (list "ffmpeg") | uniq }}
{{- $tags = append $tags (replace "." "[.]" .) }}
{{- end }}
{{- $match := list (printf "tags=~\"((%s)(,|$))*\"" (join "|" $tags)) }}
{{- if not .class.untagged }}
{{- $match = append $match "tags!~\"|ffmpeg\"" }}
{{- end }}
{{- with .class.gpuMemoryGiB }}
{{- $match = append $match (printf "gpu_memory_gib=~\"%s\"" (join "|" (untilStep 0 (int (add1 .)) 1))) }}
{{- end }}
{{- with .selector }}
{{- $match = append $match . }}
{{- end -}}
sum(max by (tags, gpu_memory_gib) (vqfarm_demand{ {{- join "," $match -}} })) or 0 * max(vqfarm_workers{ {{- .selector -}} })
{{- end }}
