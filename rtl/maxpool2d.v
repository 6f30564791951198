// SPDX-License-Identifier: Apache-2.0
//
// Max-pool on uint8.
//
//   y[c] = max over ky, kx of x[c][row + ky][col + kx]
//
// Padding is zero, which never exceeds a real value. Streams are in raster order, channel fastest,
// LANES channels a beat in and out; a position takes ceil(CHANNELS / LANES) beats.
// Cycles an image: one an input beat. Equals model.reference.maxpool2d.

`default_nettype none

module maxpool2d #(
    parameter HEIGHT     = 28,
    parameter WIDTH      = 28,
    parameter CHANNELS   = 3,
    parameter KERNEL     = 2,         // rows and columns
    parameter STRIDE     = 2,
    parameter PADDING    = 0,         // less than KERNEL
    parameter LANES      = CHANNELS,  // channels a beat
    parameter PIXELS     = 1,         // input pixels a beat, see sliding_window
    parameter OUT_PIXELS = (PIXELS > STRIDE) ? PIXELS / STRIDE : 1
) (
    input  wire                          clk,
    input  wire                          rst,
    input  wire [8*PIXELS*LANES-1:0]     s_axis_tdata,
    input  wire                          s_axis_tvalid,
    output wire                          s_axis_tready,
    output wire [8*OUT_PIXELS*LANES-1:0] m_axis_tdata,
    output wire                          m_axis_tlast,
    output wire                          m_axis_tvalid,
    input  wire                          m_axis_tready
);

    localparam TAPS        = KERNEL * KERNEL;
    localparam GROUPS      = (CHANNELS + LANES - 1) / LANES;
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam PADDED      = GROUPS * LANES;  // channels, with the unused lanes of the last beat
    localparam [GROUP_WIDTH-1:0] GROUP_LAST = GROUPS[GROUP_WIDTH-1:0] - 1'b1;

    wire [8*OUT_PIXELS*TAPS*CHANNELS-1:0] window;
    wire                                  window_last, window_valid;

    // The pipeline moves or holds together: maxima of the rows of a window, then of these.
    reg  out_valid_reg, out_last_reg, rows_valid_reg, rows_last_reg;
    wire enable = !out_valid_reg || m_axis_tready;

    reg  [GROUP_WIDTH-1:0] group_reg;
    wire                   group_last = group_reg == GROUP_LAST;

    sliding_window #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS), .KERNEL(KERNEL), .STRIDE(STRIDE),
        .PADDING(PADDING), .LANES(LANES), .PIXELS(PIXELS)
    ) windows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_window(window), .m_window_last(window_last), .m_window_valid(window_valid),
        .m_window_ready(enable && group_last)
    );

    assign m_axis_tvalid = out_valid_reg;
    assign m_axis_tlast  = out_last_reg;

    always @(posedge clk) begin
        if (enable) begin
            if (window_valid)
                group_reg <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
            rows_valid_reg <= window_valid;
            rows_last_reg  <= window_last && group_last;
            out_valid_reg  <= rows_valid_reg;
            out_last_reg   <= rows_last_reg;
        end
        if (rst) begin
            group_reg      <= 0;
            rows_valid_reg <= 1'b0;
            out_valid_reg  <= 1'b0;
        end
    end

    genvar pixel, tap, lane;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            wire [8*TAPS*LANES-1:0] taps;  // of this group of channels, channel fastest

            for (tap = 0; tap < TAPS; tap = tap + 1) begin : gen_tap
                wire [8*PADDED-1:0] channels;
                assign channels[8*CHANNELS-1:0] =
                    window[8*CHANNELS*(pixel*TAPS + tap) +: 8*CHANNELS];
                if (PADDED > CHANNELS) begin : gen_pad
                    assign channels[8*PADDED-1:8*CHANNELS] = {8*(PADDED-CHANNELS){1'b0}};
                end
                if (GROUPS > 1) begin : gen_group
                    assign taps[8*LANES*tap +: 8*LANES] = channels[8*LANES*group_reg +: 8*LANES];
                end else begin : gen_whole
                    assign taps[8*LANES*tap +: 8*LANES] = channels;
                end
            end

            for (lane = 0; lane < LANES; lane = lane + 1) begin : gen_lane
                reg [8*KERNEL-1:0] row_max, row_max_reg;
                reg [7:0]          max, max_reg;
                integer            ky, kx;

                always @* begin
                    row_max = {8*KERNEL{1'b0}};
                    max     = 8'd0;
                    for (ky = 0; ky < KERNEL; ky = ky + 1) begin
                        for (kx = 0; kx < KERNEL; kx = kx + 1)
                            if (taps[8*(LANES*(ky*KERNEL + kx) + lane) +: 8] > row_max[8*ky +: 8])
                                row_max[8*ky +: 8] = taps[8*(LANES*(ky*KERNEL + kx) + lane) +: 8];
                        if (row_max_reg[8*ky +: 8] > max)
                            max = row_max_reg[8*ky +: 8];
                    end
                end

                always @(posedge clk)
                    if (enable) begin
                        row_max_reg <= row_max;
                        max_reg     <= max;
                    end

                assign m_axis_tdata[8*(pixel*LANES + lane) +: 8] = max_reg;
            end
        end
    endgenerate

endmodule

`default_nettype wire
