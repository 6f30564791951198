// SPDX-License-Identifier: Apache-2.0
//
// Nearest-neighbour upsampling by whole factors: every row FACTOR_H times, every pixel FACTOR_W times.
//
//   y[c][row][col] = x[c][row / FACTOR_H][col / FACTOR_W]
//
// Streams are in raster order, channel fastest, LANES channels a beat in and out; a pixel takes
// ceil(CHANNELS / LANES) beats. A buffer of two rows repeats the rows, one of two pixels the pixels.
// Cycles an image: one an output beat.
// Latency: 2 clocks for each factor over 1, and 1 of axis_fifo.
// Equals model.network.layers.upsample.Upsample.

`default_nettype none

module upsample #(
    parameter HEIGHT     = 14,
    parameter WIDTH      = 14,
    parameter CHANNELS   = 1,
    parameter FACTOR_H   = 2,
    parameter FACTOR_W   = 2,
    parameter LANES      = CHANNELS,  // channels a beat
    parameter FIFO_DEPTH = 2          // output beats taken up
) (
    input  wire               clk,
    input  wire               rst,
    input  wire [8*LANES-1:0] s_axis_tdata,
    input  wire               s_axis_tvalid,
    output wire               s_axis_tready,
    output wire [8*LANES-1:0] m_axis_tdata,
    output wire               m_axis_tlast,
    output wire               m_axis_tvalid,
    input  wire               m_axis_tready
);

    localparam BEATS     = (CHANNELS + LANES - 1) / LANES;  // a pixel
    localparam ROWS      = HEIGHT * FACTOR_H;
    localparam ROW_BEATS = WIDTH * FACTOR_W * BEATS;

    wire [8*LANES-1:0] row_data, pixel_data;
    wire               row_valid, row_ready, pixel_valid, pixel_ready, last;
    wire               unused_row_last, unused_beat_last;
    wire [((ROWS > 1) ? $clog2(ROWS) : 1)-1:0]           unused_row;
    wire [((ROW_BEATS > 1) ? $clog2(ROW_BEATS) : 1)-1:0] unused_beat;

    generate
        if (FACTOR_H > 1) begin : gen_rows
            vector_buffer #(
                .WIDTH(8*LANES), .CHUNKS(WIDTH*BEATS), .REPEATS(FACTOR_H)
            ) rows (
                .clk(clk), .rst(rst),
                .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
                .s_axis_tready(s_axis_tready),
                .m_axis_tdata(row_data), .m_axis_tvalid(row_valid), .m_axis_tready(row_ready)
            );
        end else begin : gen_row
            assign row_data      = s_axis_tdata;
            assign row_valid     = s_axis_tvalid;
            assign s_axis_tready = row_ready;
        end

        if (FACTOR_W > 1) begin : gen_pixels
            vector_buffer #(
                .WIDTH(8*LANES), .CHUNKS(BEATS), .REPEATS(FACTOR_W)
            ) pixels (
                .clk(clk), .rst(rst),
                .s_axis_tdata(row_data), .s_axis_tvalid(row_valid), .s_axis_tready(row_ready),
                .m_axis_tdata(pixel_data), .m_axis_tvalid(pixel_valid),
                .m_axis_tready(pixel_ready)
            );
        end else begin : gen_pixel
            assign pixel_data  = row_data;
            assign pixel_valid = row_valid;
            assign row_ready   = pixel_ready;
        end
    endgenerate

    fold_counter #(
        .GROUPS(ROWS), .CHUNKS(ROW_BEATS)
    ) count (
        .clk(clk), .rst(rst), .step(pixel_valid && pixel_ready),
        .group(unused_row), .chunk(unused_beat),
        .group_last(unused_row_last), .chunk_last(unused_beat_last), .last(last)
    );

    axis_fifo #(
        .WIDTH(8*LANES), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(pixel_data), .s_axis_tlast(last), .s_axis_tvalid(pixel_valid),
        .s_axis_tready(pixel_ready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
